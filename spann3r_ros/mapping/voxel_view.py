"""What one frame saw, as the judge of voxels that other frames made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.compiler import COMPILES, njit
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import depth_along
from spann3r_ros.geometry.pointmap_edges import depth_edges
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

Mask = NDArray[np.bool_]

AROUND = np.ones((5, 5), np.uint8)
"""Pixels around a voxel's own of which the nearest counts: a pose may be off by two, and nothing is seen past edges."""


@dataclass(frozen=True, eq=False)
class VoxelView:
    """A camera and the depth that it saw.

    Attributes:
        camera_from_submap: rigid.
        intrinsics: of the (h, w) grid.
        depth: (h, w) float32 along the optical axis, in the unit of the submap; not positive or not finite: unknown.
    """

    camera_from_submap: Sim3
    intrinsics: Intrinsics
    depth: NDArray[np.float32]

    @classmethod
    def of(cls, prediction: Prediction) -> VoxelView | None:
        """The view of a prediction; None without pose or calibration."""
        pose, intrinsics = prediction.submap_from_camera, prediction.intrinsics
        if pose is None or intrinsics is None:
            return None
        return cls(pose.inverse(), intrinsics, depth_along(prediction.points, pose))

    def slanted(self, most: float) -> Mask:
        """(h, w) pixels whose surface is seen at more than ``most`` degrees from its normal.

        Beyond, a small error of the depth is a large one of the surface, and at the edge of an object, where pixels fly
        between two surfaces, the "surface" is seen along itself.
        """
        focal = (self.intrinsics.fx + self.intrinsics.fy) / 2
        # A slope of tan(angle) changes the depth by depth * tan(angle) / focal a pixel; a window of 3 spans two.
        jump = 2 * np.tan(np.deg2rad(most)) / focal
        return depth_edges(self.depth, self.depth > 0, jump=float(jump))

    def reaches(self, centers: NDArray[np.float32], radii: NDArray[np.float32]) -> Mask:
        """Which spheres (N, 3), (N,) reach into the pyramid before the camera."""
        x, y, z = self.camera_from_submap.apply(centers).T
        k = self.intrinsics
        inside = z > -radii
        for across, focal, low, high in ((x, k.fx, k.cx + 0.5, k.width), (y, k.fy, k.cy + 0.5, k.height)):
            left, right = low / focal, (high - low) / focal
            inside &= across + z * left > -radii * np.hypot(1, left)
            inside &= -across + z * right > -radii * np.hypot(1, right)
        return np.asarray(inside)

    def judge(self, points: NDArray[np.float32], size: float, margin: float) -> tuple[Mask, Mask]:
        """Which voxels (N, 3) of a side are seen to be elsewhere, and through which of them the camera looks.

        A voxel behind the surface is hidden, and one close to it (within its side, or a third of the margin) is where
        the surface is, as far as the depth can tell.
        """
        unknown = np.where(self.depth > 0, self.depth, np.float32(0))  # zero is nearest: nothing is looked through
        seen = np.asarray(cv2.erode(np.nan_to_num(unknown, posinf=0.0), AROUND), np.float32)
        k = self.intrinsics
        focus = float(k.fx), float(k.fy), float(k.cx), float(k.cy)
        judge = _judged_one_by_one if COMPILES else _judged
        return judge(self.camera_from_submap.apply(points), seen, focus, size, float(margin))


Focus: TypeAlias = tuple[float, float, float, float]


def _judged(
    points: NDArray[np.float32], seen: NDArray[np.float32], focus: Focus, size: float, margin: float
) -> tuple[Mask, Mask]:
    """As ``VoxelView.judge``, of points (N, 3) in the frame of the camera.

    Args:
        points, size, margin: of the voxels.
        seen: (h, w) depth of the nearest surface around each pixel, 0 where it is not known.
        focus: fx, fy, cx and cy of the camera.
    """
    (x, y, z), (height, width), (fx, fy, cx, cy) = points.T, seen.shape, focus
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        column, row = np.rint(fx * x / z + cx), np.rint(fy * y / z + cy)
        inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    asked = np.flatnonzero(inside)
    depth = seen[row[asked].astype(int), column[asked].astype(int)]
    before = depth - z[asked]
    missed, through = np.zeros_like(inside), np.zeros_like(inside)
    missed[asked] = (depth > 0) & (before > -margin * depth) & (np.abs(before) > np.maximum(margin / 3 * depth, size))
    through[asked] = (depth > 0) & (before > np.maximum(margin * depth, size))
    return missed, through


@njit
def _judged_one_by_one(
    points: NDArray[np.float32], seen: NDArray[np.float32], focus: Focus, size: float, margin: float
) -> tuple[Mask, Mask]:
    """As ``_judged``, compiled; in float32 likewise."""
    height, width = seen.shape
    fx, fy, cx, cy = np.float32(focus[0]), np.float32(focus[1]), np.float32(focus[2]), np.float32(focus[3])
    wide, third, least = np.float32(margin), np.float32(margin / 3), np.float32(size)
    missed, through = np.zeros(len(points), np.bool_), np.zeros(len(points), np.bool_)
    for i in range(len(points)):
        z = points[i, 2]
        if not z > 0:
            continue
        column, row = np.rint(fx * points[i, 0] / z + cx), np.rint(fy * points[i, 1] / z + cy)
        if not (0 <= column < width and 0 <= row < height):
            continue
        depth = seen[np.int64(row), np.int64(column)]
        before = depth - z
        missed[i] = depth > 0 and before > -wide * depth and abs(before) > max(third * depth, least)
        through[i] = depth > 0 and before > max(wide * depth, least)
    return missed, through
