"""What one CameraInfo means for the images of a topic, whatever their size turns out to be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import Spann3rError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera_info import calibration


class Lens:
    """Rectifies images and tells their intrinsics; made anew when the CameraInfo changes.

    Args:
        info: the message, see ``camera_info.calibration``.
        rectified: whether the images are rectified already.

    Attributes:
        intrinsics: of the images to work with, at the size that the message says; None when it says "uncalibrated".
        maps: what rectifies the images, of the size that came last; None where there is nothing to do.

    Raises:
        FrameError, GeometryError: as ``camera_info.calibration`` does.
    """

    def __init__(self, info: Any, rectified: bool) -> None:
        self._info, self._rectified = info, rectified
        self.intrinsics, self.maps = calibration(info, rectified)
        self._fitted, self._size = self.intrinsics, (0, 0)
        self._refusal: Spann3rError | None = None

    def apply(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Intrinsics | None]:
        """The image, rectified where it must be, and its intrinsics, scaled to its size; None when uncalibrated.

        Raises:
            FrameError: an image of a size that does not belong to the calibration.
        """
        if self.intrinsics is None:
            return image, None
        size = (image.shape[1], image.shape[0])
        if size != self._size:
            self._fit(size)
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)  # else it would grow with every image
        return (image if self.maps is None else self.maps.apply(image)), self._fitted

    @property
    def scaling(self) -> str:
        """``128 x 96 for images of 64 x 48`` where the last image was not of the calibration's size; else empty."""
        if self.intrinsics is None or self._fitted is None or self._refusal is not None:
            return ""
        own, fitted = self.intrinsics, self._fitted
        if (own.width, own.height) == (fitted.width, fitted.height):
            return ""
        return f"{own.width} x {own.height} for images of {fitted.width} x {fitted.height}"

    def _fit(self, size: tuple[int, int]) -> None:
        """Make the maps for a size; what is wrong with it is raised for every image."""
        self._size, self._refusal = size, None
        try:
            self._fitted, self.maps = calibration(self._info, self._rectified, size)
        except Spann3rError as error:
            self._refusal = error
