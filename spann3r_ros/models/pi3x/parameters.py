"""The own parameters of Pi3X."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spann3r_ros.models.pi3.parameters import Pi3Parameters
from spann3r_ros.parameter import parameter


@dataclass
class Pi3xParameters(Pi3Parameters):
    """Those of pi^3, and what of that which is known of the frames the network is told."""

    GROUP: ClassVar[str] = "pi3x"

    use_intrinsics: bool = parameter(
        True, "Tell the network the calibration of frames that have one (a CameraInfo topic).", live=True
    )
    use_poses: bool = parameter(
        False, "Tell the network the odometry of frames that have it; where it is wrong, so is the map.", live=True
    )
    use_depth: bool = parameter(
        True, "Tell the network the measured depth of frames that have it (depth_topics).", live=True
    )
