"""Pictures of a colored cloud without a window: every point a square, near ones before far ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import centered
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

BACKGROUND = (24, 26, 32)


def look_at(eye: NDArray[np.float64], target: NDArray[np.float64]) -> Sim3:
    """``world_from_camera`` (optical axes) of a camera at ``eye`` that looks at ``target`` in a world whose z is up."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.999 else np.array([1.0, 0.0, 0.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return Sim3.rigid(np.column_stack([right, np.cross(forward, right), forward]), eye)


def overview(cloud: PointCloud, azimuth: float, elevation: float, width: int = 640, height: int = 480) -> Sim3:
    """A camera that sees nearly all of a cloud.

    Args:
        cloud: in a world whose z is up; must not be empty.
        azimuth, elevation: radians, of the camera as seen from the middle of the cloud.
        width, height: of the picture to come, taken with ``default_camera``.
    """
    low, high = np.percentile(cloud.points, [2, 98], axis=0).astype(np.float64)
    middle, radius = (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 1e-6)
    direction = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    camera = default_camera(width, height)
    half_angle = np.arctan(min(width, height) / 2 / camera.fx)
    return look_at(middle + np.array(direction) * radius / np.sin(half_angle) * 0.95, middle)


def default_camera(width: int = 640, height: int = 480) -> Intrinsics:
    """A pinhole of 50 degrees across the shorter side."""
    return centered(min(width, height) / 2 / np.tan(np.radians(25.0)), width, height)


def render(
    cloud: PointCloud, world_from_camera: Sim3, camera: Intrinsics, point_size: int = 2, cut_above: float | None = None
) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB.

    Args:
        cloud: in the world frame.
        world_from_camera: optical axes.
        camera: of the picture.
        point_size: side of a point's square in pixels.
        cut_above: points higher than this (z) are not drawn, to look into a room through its ceiling.
    """
    points, colors = cloud.points, cloud.colors
    if cut_above is not None:
        below = points[:, 2] <= cut_above
        points, colors = points[below], colors[below]
    seen = world_from_camera.inverse().apply(points.astype(np.float64))
    before = seen[:, 2] > 1e-6
    seen, colors = seen[before], colors[before]
    u = np.rint(seen[:, 0] / seen[:, 2] * camera.fx + camera.cx)
    v = np.rint(seen[:, 1] / seen[:, 2] * camera.fy + camera.cy)
    inside = (np.abs(u) < 4 * camera.width) & (np.abs(v) < 4 * camera.height)
    u, v, depth, colors = u[inside].astype(np.int64), v[inside].astype(np.int64), seen[inside, 2], colors[inside]
    # Painter's order: of equal pixels numpy keeps the value written last, which is the nearest.
    order = np.argsort(-depth, kind="stable")
    u, v, colors = u[order], v[order], colors[order]
    picture = np.empty((camera.height, camera.width, 3), np.uint8)
    picture[:] = BACKGROUND
    nearest = np.full((camera.height, camera.width), -1, np.int64)
    rank = np.arange(len(u))
    for row in range(point_size):
        for column in range(point_size):
            x, y = u + column - point_size // 2, v + row - point_size // 2
            visible = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
            layer = np.full_like(nearest, -1)
            layer[y[visible], x[visible]] = rank[visible]
            np.maximum(nearest, layer, out=nearest)
    hit = nearest >= 0
    picture[hit] = colors[nearest[hit]]
    return picture
