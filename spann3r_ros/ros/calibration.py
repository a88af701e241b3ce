"""The calibration of one camera as its CameraInfo tells it, applied to its images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rclpy.impl.rcutils_logger import RcutilsLogger
from sensor_msgs.msg import CameraInfo

from spann3r_ros.errors import Spann3rError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera_info import calibration
from spann3r_ros.geometry.rectification import Rectification


class Calibration:
    """Intrinsics and rectification of one camera; images pass unchanged and uncalibrated until they are known.

    Args:
        topic: of the images. By the convention of image_proc, ``image_rect*`` are rectified already.
        logger: where a calibration that cannot be used is reported, once.

    Attributes:
        state: what is known, for diagnostics.
    """

    def __init__(self, topic: str, logger: RcutilsLogger) -> None:
        self._topic, self._logger = topic, logger
        self._rectified = any(part.startswith("image_rect") for part in topic.split("/"))
        self._content: tuple[object, ...] | None = None
        self._intrinsics: Intrinsics | None = None
        self._rectification: Rectification | None = None
        self._reported_size: tuple[int, int] | None = None
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
        self._content, self._reported_size = content, None
        self._intrinsics = self._rectification = None
        try:
            self._intrinsics, self._rectification = calibration(info, self._rectified)
        except Spann3rError as error:
            self.state = f"unusable calibration: {error}"
            self._logger.warning(f"camera_info of '{self._topic}' is not used: {error}")
            return
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
            if self._reported_size != (width, height):
                self._reported_size = (width, height)
                self._logger.warning(
                    f"images of '{self._topic}' are {width} x {height} but their camera_info is about "
                    f"{self._intrinsics.width} x {self._intrinsics.height}: the calibration is not used. "
                    "Give the camera_info that belongs to the images in camera_info_topics"
                )
            return image, None
        if self._rectification is not None:
            image = self._rectification.apply(image)
        return image, self._intrinsics
