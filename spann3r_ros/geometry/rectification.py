"""Removing lens distortion: maps that are computed once per calibration and applied to every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics

COEFFICIENTS = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
    "fisheye": (4,),
}
"""Distortion models of ``sensor_msgs/CameraInfo`` and how many coefficients each may have."""


@dataclass(frozen=True, eq=False)
class Rectification:
    """What turns the images of one camera into those of a pinhole.

    Attributes:
        intrinsics: of the rectified image, which has the size of the original.
        coarse: (height, width, 2) int16 whole source pixel of every target pixel.
        fine: (height, width) uint16 interpolation table index, the fraction of the source pixel (``cv2.convertMaps``).
    """

    intrinsics: Intrinsics
    coarse: NDArray[np.int16]
    fine: NDArray[np.uint16]

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The rectified image, bilinear, of the same shape; raises GeometryError for an image of another size."""
        if image.shape[:2] != self.coarse.shape[:2]:
            raise GeometryError(
                "image size (height, width) differs from its calibration",
                got=image.shape[:2],
                expected=str(self.coarse.shape[:2]),
                next_step="Check that image and camera_info come from the same stream",
            )
        return np.asarray(cv2.remap(image, self.coarse, self.fine, cv2.INTER_LINEAR), dtype=np.uint8)


def rectification(distorted: Intrinsics, model: str, coefficients: Sequence[float]) -> Rectification | None:
    """Maps for a calibrated lens, or None when the coefficients say that there is nothing to remove.

    The rectified view is the largest one without invalid pixels, at the size of the original.

    Args:
        distorted: K and image size of the calibration.
        model: one of ``COEFFICIENTS``, a distortion model of ``CameraInfo``.
        coefficients: D of the calibration.

    Raises:
        GeometryError: an unknown model, a wrong number of coefficients, or values that describe no usable lens.
    """
    values = np.asarray(coefficients, dtype=np.float64).ravel()
    if not values.any():
        return None
    if model not in COEFFICIENTS:
        raise GeometryError("distortion model", got=repr(model), expected=" | ".join(COEFFICIENTS))
    if len(values) not in COEFFICIENTS[model] or not np.isfinite(values).all():
        raise GeometryError(
            f"distortion coefficients of '{model}'",
            got=values.tolist(),
            expected=f"{' or '.join(map(str, COEFFICIENTS[model]))} finite numbers",
        )
    size = (distorted.width, distorted.height)
    camera = distorted.matrix()
    try:
        if model in ("equidistant", "fisheye"):
            new = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(camera, values, size, np.eye(3), balance=0.0)
            maps = cv2.fisheye.initUndistortRectifyMap(camera, values, np.eye(3), new, size, cv2.CV_16SC2)
        else:
            new, _ = cv2.getOptimalNewCameraMatrix(camera, values, size, alpha=0.0)
            maps = cv2.initUndistortRectifyMap(camera, values, None, new, size, cv2.CV_16SC2)
    except cv2.error as error:
        raise GeometryError(f"calibration that OpenCV refuses ({error})", got=values.tolist()) from error
    focal_share = np.array([new[0, 0] / distorted.fx, new[1, 1] / distorted.fy])
    if not (np.isfinite(new).all() and (focal_share > 0.05).all() and (focal_share < 20).all()):
        raise GeometryError(
            "rectified camera matrix",
            got=np.round(new, 3).tolist(),
            expected="focal lengths near those of the calibration",
            next_step="Check K, D and distortion_model in camera_info: this lens cannot become a pinhole",
        )
    intrinsics = Intrinsics(new[0, 0], new[1, 1], new[0, 2], new[1, 2], *size)
    return Rectification(intrinsics, np.asarray(maps[0], np.int16), np.asarray(maps[1], np.uint16))
