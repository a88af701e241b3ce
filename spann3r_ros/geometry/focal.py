"""The focal length that explains a pointmap seen from its own camera."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import centered, pixel_grid
from spann3r_ros.point_cloud import finite_points

MIN_POINTS = 16
MAX_ITERATIONS = 100
TOLERANCE = 1e-7
MOST_PIXELS = 10_000


def estimate_focal(
    points: NDArray[Any],
    confidence: NDArray[Any] | None = None,
    *,
    valid: NDArray[np.bool_] | None = None,
    principal_point: tuple[float, float] | None = None,
) -> float:
    """Focal length by Weiszfeld's method: the f that minimizes ``sum c |pixel - principal point - f (x/z, y/z)|``.

    The sum of distances, not of squares, is what keeps a few wild points from deciding (DUSt3R, section 3.3).

    Args:
        points: (h, w, 3) pointmap in the optical axes of the very camera that sees it.
        confidence: (h, w) weights >= 0; None weighs all alike.
        valid: (h, w) pixels to use; None uses all. Points that are not finite or not before the camera never count.
        principal_point: (cx, cy) when it is known; else the center of the image.

    Returns:
        Focal length in pixels of the (h, w) grid.

    Raises:
        GeometryError: wrong shapes, fewer than 16 usable points, or points that no positive focal length explains.
    """
    points = np.asarray(points)
    if points.ndim != 3 or points.shape[2] != 3:
        raise GeometryError("pointmap", got=points.shape, expected="shape (h, w, 3)")
    height, width = points.shape[:2]
    usable = finite_points(points) & (points[..., 2] > 0)
    for name, mask in (("valid", valid), ("confidence", confidence)):
        if mask is not None:
            if mask.shape != (height, width):
                raise GeometryError(f"{name} mask of a pointmap", got=mask.shape, expected=str((height, width)))
            usable &= mask > 0
    count = int(usable.sum())
    if count < MIN_POINTS:
        raise GeometryError(
            "points before the camera from which to estimate the focal length",
            got=count,
            expected=f">= {MIN_POINTS}",
            next_step="Give the camera's calibration instead (a CameraInfo topic)",
        )
    center = ((width - 1) / 2, (height - 1) / 2) if principal_point is None else principal_point
    chosen = points[usable].astype(np.float64)
    pixels = pixel_grid(width, height)[usable] - center
    weights = np.ones(count) if confidence is None else np.asarray(confidence[usable], dtype=np.float64)
    focal = _weiszfeld(pixels, chosen[:, :2] / chosen[:, 2:], weights)
    if not (np.isfinite(focal) and focal > 0):
        raise GeometryError(
            "focal length estimated from a pointmap",
            got=focal,
            expected="> 0 px",
            next_step="The points must be in the optical axes of the camera that sees them",
        )
    return focal


def camera_of(points: NDArray[Any], confidence: NDArray[Any]) -> Intrinsics:
    """The camera that explains a pointmap seen from itself, its principal point at the center of the image.

    Args:
        points: (h, w, 3) in the optical axes of the very camera that sees it; at most ``MOST_PIXELS`` of its points,
            spread evenly, are looked at.
        confidence: (h, w) weights >= 0.

    Raises:
        GeometryError: as ``estimate_focal``.
    """
    height, width = confidence.shape
    step = math.ceil(math.sqrt(height * width / MOST_PIXELS))
    center = ((width - 1) / 2 / step, (height - 1) / 2 / step)
    focal = step * estimate_focal(points[::step, ::step], confidence[::step, ::step], principal_point=center)
    return centered(focal, width, height)


def published_focal(
    points: NDArray[Any], principal_point: tuple[float, float], iterations: int, valid: NDArray[np.bool_] | None = None
) -> float:
    """Focal length as the code of DUSt3R and its relatives computes it, for whoever must equal it.

    Unlike ``estimate_focal`` it neither weighs pixels nor leaves out points behind the camera, and it never refuses.

    Args:
        points: (h, w, 3) pointmap in the optical axes of the very camera that sees it.
        principal_point: (cx, cy) in pixels.
        iterations: of Weiszfeld's method after the least-squares start.
        valid: (h, w) pixels to use; None uses all.

    Returns:
        Focal length in pixels, at least 0; NaN where nothing tells it.
    """
    height, width = points.shape[:2]
    chosen = np.ones((height, width), bool) if valid is None else valid
    pixels = pixel_grid(width, height)[chosen] - principal_point
    usable = points[chosen].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        directions = usable[:, :2] / usable[:, 2:]
        directions = np.where(np.isfinite(directions), directions, 0.0)
        products, squares = (pixels * directions).sum(axis=1), (directions**2).sum(axis=1)
        focal = products.mean() / squares.mean()
        for _ in range(iterations):
            weights = 1.0 / np.maximum(np.linalg.norm(pixels - focal * directions, axis=1), 1e-8)
            focal = (weights @ products) / (weights @ squares)
    return float(np.maximum(focal, 0.0))


def _weiszfeld(
    pixels: NDArray[np.float64],
    directions: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> float:
    """Iteratively reweighted least squares from the least-squares focal length; all arrays (N, 2) or (N,)."""
    pixel_dot_direction = (pixels * directions).sum(axis=1)
    direction_squared = (directions**2).sum(axis=1)

    def weighted(current: NDArray[np.float64]) -> float:
        denominator = float(current @ direction_squared)
        return float(current @ pixel_dot_direction) / denominator if denominator > 0 else float("nan")

    focal = weighted(weights)
    for _ in range(MAX_ITERATIONS):
        distance = np.linalg.norm(pixels - focal * directions, axis=1)
        previous, focal = focal, weighted(weights / np.maximum(distance, 1e-8))
        if abs(focal - previous) <= TOLERANCE * abs(previous):
            break
    return focal
