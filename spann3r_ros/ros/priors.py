"""The robot's own estimate of where its cameras were, given to frames for those who correct the map."""

from __future__ import annotations

import dataclasses

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Frame
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.ros.odometry_input import OdometryInput
from spann3r_ros.ros.transform_lookup import Transforms
from spann3r_ros.sim3 import Sim3
from spann3r_ros.worker import FrameProcessor


class WithPriors:
    """Drives a reconstruction with frames that carry ``odom_from_camera`` where it is known; never waits for it.

    Args:
        reconstruction: takes the frames.
        transforms: of the robot.
        odom: frame of its odometry in TF, or empty when it has none.
        topic: odometry of a topic, which is asked instead of TF; None without one.
    """

    def __init__(
        self, reconstruction: FrameProcessor, transforms: Transforms, odom: str, topic: OdometryInput | None = None
    ) -> None:
        self._reconstruction, self._transforms, self._odom, self._topic = reconstruction, transforms, odom, topic

    def prior(self, camera: str, stamp: int) -> Sim3 | None:
        """``odom_from_camera`` at a stamp (ns) as far as it is known now."""
        if self._topic is not None:
            return self._topic.prior(camera, stamp)
        if not self._odom:
            return None
        try:
            return self._transforms.lookup(self._odom, camera, stamp)
        except GeometryError:
            return None

    def rig(self, first: str, second: str, stamp: int) -> Sim3 | None:
        """``first_from_second`` of two cameras at a stamp (ns) by TF, as far as it is known."""
        try:
            return self._transforms.lookup(first, second, stamp)
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
