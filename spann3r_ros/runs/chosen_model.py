"""The reconstruction that a configuration asks for, for one recording; the door of the simulated network.

The simulated network answers from the truth of the recording, so it cannot be had without one: not in the node, and not
by ``Reconstruction.from_config`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import SIMULATED, Config
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.base import ModelStream, Stream
from spann3r_ros.models.registry import parameter_groups
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.recordings.sequence import Sequence
from spann3r_ros.synthetic.simulated_parameters import SimulatedParameters

WIDTH = 64
"""Of the simulated answers where the parameter ``image_width`` says nothing; seven numbers need no more pixels."""


def all_groups() -> tuple[type, ...]:
    """Parameters of their own of everything that a run over a recording can be made with."""
    return (*parameter_groups(), SimulatedParameters)


def groups_for(values: Mapping[str, Any]) -> tuple[type, ...]:
    """Those that a configuration of such values has; the simulated network's only where it is asked for."""
    return all_groups() if values.get("model") == SIMULATED else parameter_groups()


def reconstruction_for(sequence: Sequence, config: Config, complaints: Complaints | None = None) -> Reconstruction:
    """As ``Reconstruction.from_config``, and for ``model: simulated`` with the truth of the recording.

    Args:
        sequence: the recording whose frames will be processed.
        config: its values from ``groups_for``.
        complaints: see ``Reconstruction``.

    Raises:
        ConfigError, CheckpointError: as ``Reconstruction.from_config``; also a ``checkpoint`` for the simulated one.
        DataError: a recording without true poses and depth for the simulated network.
    """
    if config.model != SIMULATED:
        return Reconstruction.from_config(config, complaints)
    if config.checkpoint:
        raise ConfigError(f"parameter 'checkpoint' of model {SIMULATED}", got=config.checkpoint, expected="empty")
    from spann3r_ros.streaming.windowed import Windowed
    from spann3r_ros.synthetic.frame_truth import RecordedTruth
    from spann3r_ros.synthetic.simulated_network import SimulatedNetwork, SimulatedWindows

    settings = config.of(SimulatedParameters)
    network = SimulatedNetwork(RecordedTruth(sequence, config.image_width or WIDTH), settings)
    stream: Stream = ModelStream(network)
    if settings.window:
        stream = ModelStream(Windowed(SimulatedWindows(network), settings))
    return Reconstruction.from_config(config, complaints, model=stream)
