"""What recognizes places, as the parameters ask for it: for loops, and to find the camera in a loaded map."""

from __future__ import annotations

from pathlib import Path

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.loop_search import Sight
from spann3r_ros.mapping.relocalizing import Relocalization
from spann3r_ros.models.base import Stream
from spann3r_ros.models.loading import load_descriptor, load_relocalizer
from spann3r_ros.streaming.relating import relating


def sight_of(config: Config, stream: Stream) -> Sight:
    """How the stream's model relates frames, and the descriptor of ``loops.descriptor`` where one is set.

    Raises:
        ConfigError, CheckpointError: as ``load_descriptor``.
    """
    weights = config.loops.descriptor
    describe = load_descriptor(Path(weights), config.device).describe if weights else None
    return Sight(relating(stream).relate, describe)


def relocalization_of(
    config: Config, sight: Sight, background: Background, complaints: Complaints
) -> list[Relocalization]:
    """The corrector that finds the camera in a loaded map; none where ``relocalizer`` is ``none``.

    Raises:
        ConfigError: no weights for ``posenet``, or as ``load_relocalizer``.
        CheckpointError: as ``load_relocalizer``.
    """
    locate, weights = None, config.relocalizer_checkpoint
    if config.relocalizer == "none":
        return []
    if config.relocalizer == "posenet":
        if not weights:
            raise ConfigError("parameter 'relocalizer_checkpoint'", got="''", expected="weights of a relocalizer")
        locate = load_relocalizer(Path(weights), config.device).locate
    return [Relocalization(config.loops, sight.relate, background, locate, sight.describe, complaints)]
