"""The robot's own estimate of where its cameras were, given to frames for those who correct the map."""

from __future__ import annotations

import dataclasses

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Frame
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.ros.transform_lookup import Transforms
from spann3r_ros.sim3 import Sim3
from spann3r_ros.worker import FrameProcessor


class WithPriors:
    """Drives a reconstruction with frames that carry ``odom_from_camera`` where it is known; never waits for it.

    Args:
        reconstruction: takes the frames.
        transforms: of the robot.
        odom: frame of its odometry, or empty when it has none.
    """

    def __init__(self, reconstruction: FrameProcessor, transforms: Transforms, odom: str) -> None:
        self._reconstruction, self._transforms, self._odom = reconstruction, transforms, odom

    def prior(self, camera: str, stamp: int) -> Sim3 | None:
        """``odom_from_camera`` at a stamp (ns) as far as it is known now."""
        if not self._odom:
            return None
        try:
            return self._transforms.lookup(self._odom, camera, stamp)
        except GeometryError:
            return None

    def process(self, frame: Frame) -> list[WorldPrediction]:
        """As of ``Reconstruction``. Odometry often comes after its image: what was not known then may be now."""
        if frame.prior is None:
            prior = self.prior(frame.camera, frame.stamp)
            frame = frame if prior is None else dataclasses.replace(frame, prior=prior)
        return self._reconstruction.process(frame)

    def reset(self) -> None:
        """As of ``Reconstruction``."""
        self._reconstruction.reset()
