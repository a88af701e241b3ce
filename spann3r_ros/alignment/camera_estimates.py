"""Focal length and pose from a pointmap as DUSt3R's global alignment begins with them (its sections 3.3 and 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]
Points = NDArray[np.float32]

WEISZFELD_ROUNDS = 10
RANSAC_ERROR = 5.0
"""Pixels."""

FOCAL_TRIALS = 21
LEAST_POINTS = 4


@dataclass(frozen=True, eq=False)
class CameraEstimate:
    """A camera that a pointmap tells.

    Attributes:
        world_from_camera: (4, 4) float64.
        focal: in pixels.
    """

    world_from_camera: Array
    focal: float


def pixel_places(height: int, width: int) -> Points:
    """(h, w, 2) float32 (u, v) of a grid: whole numbers."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def focal_of(points: Points, center: tuple[float, float] | None = None) -> float:
    """Focal length in pixels that explains a pointmap (h, w, 3) in its own camera, by ten rounds of Weiszfeld's method.

    ``geometry.focal`` has the robust one; this is the published one: all pixels count alike, and points on the plane of
    the camera count as if on its axis. The center is (w / 2, h / 2) unless given.
    """
    height, width = points.shape[:2]
    middle = (width / 2, height / 2) if center is None else center
    pixels = torch.from_numpy(pixel_places(height, width)).view(1, -1, 2) - torch.tensor(middle)
    # In float32, as published: a rounding of the focal length can make RANSAC prefer another pose.
    rays = torch.from_numpy(np.ascontiguousarray(points)).view(1, -1, 3)
    rays = (rays[..., :2] / rays[..., 2:]).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    along, squared = (rays * pixels).sum(dim=-1), rays.square().sum(dim=-1)
    focal = along.mean(dim=1) / squared.mean(dim=1)
    for _ in range(WEISZFELD_ROUNDS):
        weight = (pixels - focal.view(-1, 1, 1) * rays).norm(dim=-1).clamp(min=1e-8).reciprocal()
        focal = (weight * along).mean(dim=1) / (weight * squared).mean(dim=1)
    return float(focal)


def camera_of_points(
    points: Points,
    focal: float | None,
    mask: NDArray[np.bool_],
    *,
    center: tuple[float, float] | None = None,
    iterations: int = 10,
) -> CameraEstimate | None:
    """The camera that sees a pointmap (h, w, 3) of the world on its pixel grid, by RANSAC with SQPnP.

    Args:
        points: in the world.
        focal: in pixels, or None: that of ``FOCAL_TRIALS`` between half and three times the image on which most agree.
        mask: (h, w) pixels that count.
        center: principal point in pixels; None: (w / 2, h / 2).
        iterations: of RANSAC, which OpenCV seeds alike in each call.

    Returns:
        None when fewer than four pixels count, or when no pose was found.
    """
    height, width = points.shape[:2]
    if int(mask.sum()) < LEAST_POINTS:
        return None
    side = max(height, width)
    trials = np.geomspace(side / 2, side * 3, FOCAL_TRIALS).tolist() if focal is None else [focal]
    middle = (width / 2, height / 2) if center is None else center
    world, pixels = np.ascontiguousarray(points[mask]), np.ascontiguousarray(pixel_places(height, width)[mask])
    best: CameraEstimate | None = None
    most = 0
    for trial in trials:
        matrix = np.array([[trial, 0, middle[0]], [0, trial, middle[1]], [0, 0, 1]], np.float32)
        try:
            found, vector, translation, inliers = cv2.solvePnPRansac(
                world,
                pixels,
                matrix,
                None,
                iterationsCount=iterations,
                reprojectionError=RANSAC_ERROR,
                flags=cv2.SOLVEPNP_SQPNP,
            )
        except cv2.error:  # its solvers assert on some degenerate samples
            continue
        if not found or inliers is None or len(inliers) <= most:
            continue
        camera_from_world = np.eye(4)
        camera_from_world[:3, :3] = cv2.Rodrigues(vector)[0]
        camera_from_world[:3, 3] = np.asarray(translation).ravel()
        if np.isfinite(camera_from_world).all():
            best, most = (
                CameraEstimate(np.asarray(np.linalg.inv(camera_from_world), dtype=np.float64), float(trial)),
                len(inliers),
            )
    return best


def align_cameras(source: Array, target: Array) -> Sim3:
    """``target_from_source`` of cameras (k, 4, 4), k >= 2: by their centers and by points a little ahead of them.

    How far ahead follows from how far apart the centers lie, a hundredth of their median distance on each side.
    """

    def marked(poses: Array) -> Array:
        centers = poses[:, :3, 3]
        gaps = [float(np.linalg.norm(a - b)) for n, a in enumerate(centers) for b in centers[n + 1 :]]
        ahead = sorted(gaps)[(len(gaps) - 1) // 2] / 100
        return np.concatenate([centers, centers + ahead * poses[:, :3, 2]])

    return umeyama(marked(source), marked(target))
