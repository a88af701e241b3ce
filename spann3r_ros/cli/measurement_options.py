"""The options that let measurements of a recording serve its reconstruction: odometry and depth."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.registry import is_told_depth, takers_of_depth
from spann3r_ros.recordings.measured_depth import MeasuredDepth
from spann3r_ros.recordings.recorded_odometry import RecordedOdometry
from spann3r_ros.recordings.sequence import Sequence


def add_measurement_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("measurements of the recording")
    group.add_argument(
        "--use-depth",
        action="store_true",
        help="use the recorded depth images: for the scale of the map, and told to a network that takes depth",
    )
    group.add_argument(
        "--use-odometry",
        action="store_true",
        help="use recorded odometry for the scale and the place of the map: of a bag TF from odom to the camera, or "
        "--odometry-topic; of a dataset its true poses",
    )
    group.add_argument(
        "--odometry-topic", default="", metavar="TOPIC", help="of a bag: Odometry, or PoseStamped of the camera"
    )


def measured_sequence(sequence: Sequence, config: Config, options: Mapping[str, Any]) -> Sequence:
    """A recording whose frames carry what ``options``, those declared here among others, ask for.

    Raises:
        ConfigError: depth that nothing would use.
        DataError: a recording without what is asked for.
    """
    if options["use_odometry"] or options["odometry_topic"]:
        sequence = RecordedOdometry(sequence, options["odometry_topic"])
    if options["use_depth"]:
        _require_use_of_depth(config)
        sequence = MeasuredDepth(sequence)
    return sequence


def _require_use_of_depth(config: Config) -> None:
    """Raise ConfigError unless depth is of use: for the scale, or for a model that takes it and may be told it."""
    if config.scale.source not in ("auto", "depth") and not is_told_depth(config):
        raise ConfigError(
            f"--use-depth for a model that is told no depth, with scale.source {config.scale.source}",
            got=config.model,
            expected=f"scale.source auto or depth, or {' | '.join(takers_of_depth())} with use_depth true",
        )
