"""The pinhole camera: how its intrinsics follow the image, and the way between pixels, rays, depth and points.

Pixel (u, v) = (0, 0) is the center of the upper left pixel; u runs right, v runs down.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.sim3 import Sim3


def crop(intrinsics: Intrinsics, left: int, top: int, width: int, height: int) -> Intrinsics:
    """Intrinsics of the window ``[left, left + width) x [top, top + height)`` of the image, in pixels.

    Raises:
        GeometryError: a window that is empty or leaves the image.
    """
    fits = left >= 0 and top >= 0 and left + width <= intrinsics.width and top + height <= intrinsics.height
    if not fits or width < 1 or height < 1:
        raise GeometryError(
            "crop window (left, top, width, height)",
            got=(left, top, width, height),
            expected=f"a window inside {intrinsics.width} x {intrinsics.height}",
        )
    return dataclasses.replace(intrinsics, cx=intrinsics.cx - left, cy=intrinsics.cy - top, width=width, height=height)


def resize(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """Intrinsics of the whole image resampled to ``width x height`` pixels (both sides may scale differently).

    The image's corners, not its pixel centers, keep their place, as in every resampling library.
    """
    if width < 1 or height < 1:
        raise GeometryError("image size (width, height)", got=(width, height), expected=">= 1 pixel")
    x, y = width / intrinsics.width, height / intrinsics.height
    return Intrinsics(
        intrinsics.fx * x,
        intrinsics.fy * y,
        (intrinsics.cx + 0.5) * x - 0.5,
        (intrinsics.cy + 0.5) * y - 0.5,
        width,
        height,
    )


def scale(intrinsics: Intrinsics, factor: float) -> Intrinsics:
    """Intrinsics after scaling by ``factor``, the size rounded down, as the published models prepare their images.

    The fraction of a pixel that rounding loses counts as cropped, half on each side; both focal lengths scale by
    exactly ``factor``. (``resize`` instead squeezes the whole image into the rounded size.)
    """
    if not (np.isfinite(factor) and factor > 0):
        raise GeometryError("scale factor of an image", got=factor, expected="a finite number > 0")
    exact_width, exact_height = intrinsics.width * factor, intrinsics.height * factor
    width, height = int(exact_width), int(exact_height)
    if width < 1 or height < 1:
        raise GeometryError("scaled image size", got=(exact_width, exact_height), expected=">= 1 pixel")
    return Intrinsics(
        intrinsics.fx * factor,
        intrinsics.fy * factor,
        (intrinsics.cx + 0.5) * factor - 0.5 - 0.5 * (exact_width - width),
        (intrinsics.cy + 0.5) * factor - 0.5 - 0.5 * (exact_height - height),
        width,
        height,
    )


def centered(focal: float, width: int, height: int) -> Intrinsics:
    """Square pixels, one focal length in pixels, and the principal point at the exact center of the image."""
    return Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)


def pixel_grid(width: int, height: int) -> NDArray[np.float64]:
    """(height, width, 2) float64: the coordinates (u, v) of every pixel's center."""
    grid = np.empty((height, width, 2))
    grid[..., 0] = np.arange(width)
    grid[..., 1] = np.arange(height)[:, None]
    return grid


def rays(intrinsics: Intrinsics) -> NDArray[np.float64]:
    """(height, width, 3) float64 viewing direction of every pixel in optical axes, scaled to z = 1."""
    grid = pixel_grid(intrinsics.width, intrinsics.height)
    directions = np.ones((intrinsics.height, intrinsics.width, 3))
    directions[..., 0] = (grid[..., 0] - intrinsics.cx) / intrinsics.fx
    directions[..., 1] = (grid[..., 1] - intrinsics.cy) / intrinsics.fy
    return directions


def backproject(depth: NDArray[Any], intrinsics: Intrinsics) -> NDArray[np.float32]:
    """Pointmap of a depth image.

    Args:
        depth: (height, width) distance along z in any unit; NaN where unknown.
        intrinsics: of that image.

    Returns:
        (height, width, 3) float32 in optical axes; NaN where the depth is unknown.
    """
    if depth.shape != (intrinsics.height, intrinsics.width):
        raise GeometryError(
            "size of a depth image", got=depth.shape, expected=str((intrinsics.height, intrinsics.width))
        )
    return np.asarray(rays(intrinsics) * depth[..., None], dtype=np.float32)


def project(points: NDArray[Any], intrinsics: Intrinsics) -> NDArray[np.float64]:
    """Pixels (..., 2) float64 of points (..., 3) given in optical axes; NaN where a point is not before the camera."""
    points = np.asarray(points, dtype=np.float64)
    depth = np.where(points[..., 2] > 0, points[..., 2], np.nan)
    pixels = points[..., :2] / depth[..., None]
    return np.asarray(pixels * (intrinsics.fx, intrinsics.fy) + (intrinsics.cx, intrinsics.cy))


def depth_along(points: NDArray[np.float32], world_from_camera: Sim3) -> NDArray[np.float32]:
    """(h, w) float32 distance of a pointmap (h, w, 3) along a camera's optical axis, as it is: behind it negative."""
    axis = world_from_camera.rotation[:, 2].astype(np.float32)
    offset = np.float32(world_from_camera.rotation[:, 2] @ world_from_camera.translation)
    with np.errstate(invalid="ignore", over="ignore"):
        depth = points.reshape(-1, 3) @ axis
        depth -= offset
    return np.asarray(depth.reshape(points.shape[:2]), dtype=np.float32)


def depth_from_pointmap(points: NDArray[Any], world_from_camera: Sim3) -> NDArray[np.float32]:
    """Depth image of a pointmap.

    Args:
        points: (h, w, 3) in the world frame.
        world_from_camera: pose of the camera (optical axes).

    Returns:
        (h, w) float32 distance along the optical axis in the world's unit; NaN where a point is not finite or not
        before the camera.
    """
    axis = world_from_camera.rotation[:, 2]
    depth = np.asarray(points, dtype=np.float64) @ axis - axis @ world_from_camera.translation
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(depth) & (depth > 0)
    return np.asarray(np.where(usable, depth, np.nan), dtype=np.float32)
