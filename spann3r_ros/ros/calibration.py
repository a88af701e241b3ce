"""The calibration of one camera as its CameraInfo tells it, applied to its images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from spann3r_ros.complaints import Complaints
from spann3r_ros.errors import Spann3rError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera_info import calibration, is_rectified
from spann3r_ros.geometry.rectification import Rectification


class Calibration:
    """Intrinsics and rectification of one camera; images pass unchanged and uncalibrated until they are known.

    Args:
        topic: of the images, whose name tells whether they are rectified already.
        complaints: of the camera; a calibration that cannot be used is reported there.

    Attributes:
        state: what is known, for diagnostics.
    """

    def __init__(self, topic: str, complaints: Complaints) -> None:
        self._topic, self._complaints = topic, complaints
        self._rectified = is_rectified(topic)
        self._content: tuple[object, ...] | None = None
        self._intrinsics: Intrinsics | None = None
        self._rectification: Rectification | None = None
        self.state = "no camera_info yet"

    @property
    def known(self) -> bool:
        """Whether a CameraInfo has arrived."""
        return self._content is not None

    def update(self, info: CameraInfo) -> None:
        """Take a CameraInfo; the same content as before costs nothing."""
        roi = info.roi
        content = (
            *(info.width, info.height, info.binning_x, info.binning_y, info.distortion_model),
            *(roi.x_offset, roi.y_offset, roi.width, roi.height),
            *(tuple(info.k), tuple(info.d), tuple(info.p)),
        )
        if content == self._content:
            return
        self._content = content
        self._intrinsics = self._rectification = None
        try:
            self._intrinsics, self._rectification = calibration(info, self._rectified)
        except Spann3rError as error:
            self.state = f"unusable calibration: {error}"
            self._complaints.report("calibration", f"camera_info of '{self._topic}' is not used: {error}")
            return
        self._complaints.settle("calibration")
        if self._intrinsics is None:
            self.state = "uncalibrated (K = 0)"
            return
        self.state = "calibrated" + (f", rectifying {info.distortion_model}" if self._rectification else "")

    def apply(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Intrinsics | None]:
        """The image, rectified where it must be, and its intrinsics, or None while unknown."""
        if self._intrinsics is None:
            return image, None
        height, width = image.shape[:2]
        if (self._intrinsics.width, self._intrinsics.height) != (width, height):
            self._complaints.report(
                "calibration of another size",
                f"images of '{self._topic}' are {width} x {height} but their camera_info is about "
                f"{self._intrinsics.width} x {self._intrinsics.height}: the calibration is not used. "
                "Give the camera_info that belongs to the images in camera_info_topics",
            )
            return image, None
        self._complaints.settle("calibration of another size")
        if self._rectification is not None:
            image = self._rectification.apply(image)
        return image, self._intrinsics
