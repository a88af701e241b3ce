"""The calibration of one camera as its CameraInfo tells it, applied to its images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from spann3r_ros.complaints import EVENT, Complaints, Severity
from spann3r_ros.errors import Spann3rError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera_info import is_rectified
from spann3r_ros.geometry.lens import Lens
from spann3r_ros.geometry.rectification import Rectification


class Calibration:
    """Intrinsics and rectification of one camera; images pass unchanged and uncalibrated until they are known.

    Args:
        topic: of the images, whose name tells whether they are rectified already.
        complaints: of the camera; a calibration that cannot be used is reported there.

    Attributes:
        state: what is known, for diagnostics.
        maps: what rectified the image that came last; None where it passed as it was.
    """

    def __init__(self, topic: str, complaints: Complaints) -> None:
        self._topic, self._complaints = topic, complaints
        self._rectified = is_rectified(topic)
        self._content: tuple[object, ...] | None = None
        self._lens: Lens | None = None
        self._scaling = ""
        self.state = "no camera_info yet"
        self.maps: Rectification | None = None

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
            *(np.asarray(values).tobytes() for values in (info.k, info.d, info.r, info.p)),  # NaN equals itself so
        )
        if content == self._content:
            return
        self._content = content
        self._lens = None
        self._complaints.settle("calibration of another size")
        try:
            self._lens = Lens(info, self._rectified)
        except Spann3rError as error:
            self.state = f"unusable calibration: {error}"
            self._complaints.report("calibration", f"camera_info of '{self._topic}' is not used: {error}")
            return
        self._complaints.settle("calibration")
        if self._lens.intrinsics is None:
            self._lens = None
            self.state = "uncalibrated (K = 0)"
            return
        self.state = "calibrated" + (f", rectifying {info.distortion_model}" if self._lens.maps else "")

    def apply(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Intrinsics | None]:
        """The image, rectified where it must be, and its intrinsics, or None while unknown."""
        self.maps = None
        if self._lens is None:
            return image, None
        try:
            image, intrinsics = self._lens.apply(image)
        except Spann3rError as error:
            self._complaints.report(
                "calibration of another size",
                f"camera_info of '{self._topic}' is not used: {error} (parameter camera_info_topics)",
            )
            return image, None
        self._complaints.settle("calibration of another size")
        if self._lens.scaling not in ("", self._scaling):
            text = f"camera_info of '{self._topic}' is about {self._lens.scaling}: it is scaled"
            self._complaints.report("scaled calibration", text, Severity.INFO, lasts=EVENT)
        self._scaling, self.maps = self._lens.scaling, self._lens.maps
        return image, intrinsics
