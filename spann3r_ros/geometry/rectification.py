"""Removing lens distortion: maps that are computed once per calibration and applied to every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics

FISHEYE, PINHOLE = "equidistant", "plumb_bob"

MODELS = {
    **dict.fromkeys(("plumb_bob", "rational_polynomial", "thin_prism", "none", ""), PINHOLE),
    **dict.fromkeys(("radtan", "radial-tangential", "radial_tangential", "brown_conrady", "opencv"), PINHOLE),
    **dict.fromkeys(("equidistant", "fisheye", "kannala_brandt", "kannala_brandt4", "opencv_fisheye"), FISHEYE),
}
"""Distortion models by the names that drivers give them, in lower case, and which of OpenCV's two it is. OpenCV tells
the polynomials of a pinhole apart by the number of coefficients, as ROS's own tools do, whatever they are called."""

LENGTHS = {PINHOLE: (4, 5, 8, 12, 14), FISHEYE: (4,)}
"""How many coefficients OpenCV takes."""

MOST_FOLDED = 0.01
"""Share of the rectified view where a lens may fold over, in the corners of a calibration that is but fitted."""


_NO_FRACTION = np.empty(0, np.uint16)


@dataclass(frozen=True, eq=False)
class Rectification:
    """What turns the images of one camera into those of a pinhole.

    Attributes:
        intrinsics: of the rectified image, which has the size of the original.
        coarse: (height, width, 2) int16 whole source pixel of every target pixel.
        fine: (height, width) uint16 interpolation table index, the fraction of the source pixel (``cv2.convertMaps``).
        rotation: (3, 3) rectified_from_camera where the view is turned, else None.
    """

    intrinsics: Intrinsics
    coarse: NDArray[np.int16]
    fine: NDArray[np.uint16]
    rotation: NDArray[np.float64] | None = None

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

    def apply_depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth of the original pixels, (height, width) float32, as that of the rectified ones along their own axis.

        The nearest pixel is taken; 0 where the original shows nothing. ``depth`` is of the size of the maps.
        """
        seen = np.asarray(cv2.remap(depth, self._nearest, _NO_FRACTION, cv2.INTER_NEAREST), dtype=np.float32)
        return seen if self._lengthening is None else seen * self._lengthening

    @cached_property
    def _nearest(self) -> NDArray[np.int16]:
        """(height, width, 2) whole source pixel, rounded; ``coarse`` is cut off."""
        half, bits = cv2.INTER_TAB_SIZE // 2, cv2.INTER_BITS
        fraction = np.stack([self.fine & cv2.INTER_TAB_SIZE - 1, self.fine >> bits], axis=-1)
        return np.asarray(self.coarse + (fraction >= half), dtype=np.int16)

    @cached_property
    def _lengthening(self) -> NDArray[np.float32] | None:
        """(height, width) depth along the turned axis for a depth of 1 along the camera's; 0 behind the camera."""
        if self.rotation is None:
            return None
        k, (v, u) = self.intrinsics, np.indices(self.fine.shape, dtype=np.float64)
        # z in the camera of a rectified ray of z = 1: the third row of camera_from_rectified.
        across, down, along = self.rotation[:, 2]
        z = across * (u - k.cx) / k.fx + down * (v - k.cy) / k.fy + along
        inverse = np.divide(1.0, z, out=np.zeros_like(z), where=z > 0)
        return np.asarray(inverse, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class StereoView:
    """Where a camera of a calibrated stereo pair looks after rectification (R and P of its CameraInfo).

    Attributes:
        rotation: (3, 3) rectified_from_camera.
        intrinsics: of the rectified image.
    """

    rotation: NDArray[np.float64]
    intrinsics: Intrinsics


def rectification(
    distorted: Intrinsics, model: str, coefficients: Sequence[float], stereo: StereoView | None = None
) -> Rectification | None:
    """Maps for a calibrated lens, or None when there is nothing to remove.

    Args:
        distorted: K and image size of the calibration.
        model: one of ``MODELS``, a distortion model of ``CameraInfo``.
        coefficients: D of the calibration; zeros at its end count as absent.
        stereo: the view to make, which may be turned; by default the largest one without invalid pixels, not turned.

    Raises:
        GeometryError: an unknown model, a wrong number of coefficients, or values that describe no usable lens.
    """
    kind, values = _lens(model, coefficients)
    if not values.any() and stereo is None:
        return None
    size = (distorted.width, distorted.height)
    camera = distorted.matrix()
    turn = np.eye(3) if stereo is None else stereo.rotation
    try:
        if stereo is not None:
            new: NDArray[Any] = stereo.intrinsics.matrix()
        elif kind == FISHEYE:
            new = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(camera, values, size, np.eye(3), balance=0.0)
        else:
            new = np.asarray(cv2.getOptimalNewCameraMatrix(camera, values, size, alpha=0.0)[0])
        make_maps = cv2.fisheye.initUndistortRectifyMap if kind == FISHEYE else cv2.initUndistortRectifyMap
        x, y = make_maps(camera, values, turn, new, size, cv2.CV_32FC1)
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
    if _folded(np.asarray(x), np.asarray(y)) > MOST_FOLDED:
        raise GeometryError(
            f"distortion coefficients of '{model}'",
            got=values.tolist(),
            expected="a lens that shows each direction once; this one folds over inside of its image",
        )
    coarse, fine = cv2.convertMaps(x, y, cv2.CV_16SC2)
    intrinsics = Intrinsics(float(new[0, 0]), float(new[1, 1]), float(new[0, 2]), float(new[1, 2]), *size)
    rotation = None if stereo is None or np.array_equal(turn, np.eye(3)) else turn
    return Rectification(intrinsics, np.asarray(coarse, np.int16), np.asarray(fine, np.uint16), rotation)


def _lens(model: str, coefficients: Sequence[float]) -> tuple[str, NDArray[np.float64]]:
    """Which of OpenCV's two models, and its coefficients, as many as OpenCV takes."""
    given = np.asarray(coefficients, dtype=np.float64).ravel()
    values = given[: np.flatnonzero(given)[-1] + 1] if given.any() else given[:0]
    if not len(values):
        return PINHOLE, np.zeros(LENGTHS[PINHOLE][0])  # whatever it is called
    kind = MODELS.get(model.strip().lower())
    if kind is None:
        known = " | ".join(name for name in MODELS if name)
        raise GeometryError("distortion model", got=repr(model), expected=known, next_step="Undistort the images first")
    length = next((length for length in LENGTHS[kind] if length >= len(values)), 0)
    # Of three numbers nobody knows whether the last is radial; of more the first two are, everywhere.
    if not length or not np.isfinite(values).all() or (len(given) < LENGTHS[kind][0] and len(values) > 2):
        raise GeometryError(
            f"distortion coefficients of '{model}'",
            got=given.tolist(),
            expected=f"{' or '.join(map(str, LENGTHS[kind]))} finite numbers",
        )
    return kind, np.pad(values, (0, length - len(values)))


def _folded(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Share of a view whose source pixels lie mirrored."""
    if min(x.shape) < 2:
        return 0.0
    (x_down, x_right), (y_down, y_right) = np.gradient(x), np.gradient(y)
    return float(np.mean(x_right * y_down - x_down * y_right <= 0))
