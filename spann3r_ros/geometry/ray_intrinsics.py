"""The pinhole camera that sees a pointmap, by least squares on the pixels' rays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import FrameError, GeometryError
from spann3r_ros.frame import Intrinsics

LEAST_POINTS = 16


def intrinsics_from_rays(points: NDArray[Any], *, free_center: bool = False) -> Intrinsics:
    """The camera of a pointmap that is given in its own optical axes (section 5.3 of the specification of pi^3).

    Both focal lengths are found apart, since the image may have been squeezed. All rays count alike, however far the
    points are and however sure: it suits networks whose rays are smooth over the whole image.

    Args:
        points: (h, w, 3); those that are not finite and before the camera do not count.
        free_center: find the principal point, too, instead of taking it to be the middle of the image.

    Raises:
        GeometryError: wrong shape, fewer than 16 points, or points that no camera explains.
    """
    points = np.asarray(points)
    if points.ndim != 3 or points.shape[2] != 3:
        raise GeometryError("pointmap", got=points.shape, expected="shape (h, w, 3)")
    height, width = points.shape[:2]
    usable = (points[..., 2] > 0) & np.isfinite(points[..., 0])
    usable &= np.isfinite(points[..., 1]) & np.isfinite(points[..., 2])
    if int(usable.sum()) < LEAST_POINTS:
        raise GeometryError(
            "points before the camera from which to find its intrinsics",
            got=int(usable.sum()),
            expected=f">= {LEAST_POINTS}",
            next_step="Give the camera's calibration instead (a CameraInfo topic)",
        )
    fx, cx = _line(_slopes(points, 0, usable), np.arange(width)[None], usable, free_center)
    fy, cy = _line(_slopes(points, 1, usable), np.arange(height)[:, None], usable, free_center)
    try:
        return Intrinsics(fx, fy, cx, cy, width, height)
    except FrameError as error:
        raise GeometryError(
            "camera that explains a pointmap",
            got=(fx, fy, cx, cy),
            expected="finite numbers, with positive focal lengths",
            next_step="The points must be in the optical axes of the camera that sees them",
        ) from error


def _slopes(points: NDArray[Any], axis: int, usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """x/z or y/z (h, w), zero where it is not usable."""
    slopes = np.zeros(usable.shape)
    np.divide(points[..., axis], points[..., 2], out=slopes, where=usable)
    return slopes


def _line(
    slopes: NDArray[np.float64], pixels: NDArray[np.int64], usable: NDArray[np.bool_], free_center: bool
) -> tuple[float, float]:
    """Focal length and center of ``pixel = focal slope + center`` along one axis, over the usable pixels."""
    middle = (pixels.size - 1) / 2
    squares, products = float(np.vdot(slopes, slopes)), float((slopes * (pixels - middle)).sum())
    center = middle
    if free_center:
        count, sum_slopes = int(usable.sum()), float(slopes.sum())
        sum_pixels = float((usable * (pixels - middle)).sum())
        squares -= sum_slopes**2 / count
        products -= sum_slopes * sum_pixels / count
        center += (sum_pixels - products / squares * sum_slopes) / count if squares > 0 else 0.0
    return products / squares if squares > 0 else float("nan"), center
