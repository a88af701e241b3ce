"""Cameras from Fast3R's pointmaps as its authors' demo finds them, and how local pointmaps lie to global ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.geometry.camera import pixel_grid
from spann3r_ros.geometry.focal import published_focal
from spann3r_ros.sim3 import Sim3

SURE_SHARE = 0.85
"""Quantile of the global confidence from which on pixels tell how a local pointmap lies to the global one."""

FOCAL_SHARE = 0.10
"""Quantile of the confidence from which on pixels tell the focal length."""

FOCAL_ITERATIONS = 100

FOCAL_CANDIDATES = 100
"""Focal lengths that the method ``individual`` tries, from half to three times the longer side of the image."""

RANSAC_ITERATIONS, REPROJECTION_ERROR = 100, 5.0


@dataclass(frozen=True, eq=False)
class ViewPointmaps:
    """What the two heads say about one view; confidences are the network's own, at least 1.

    Attributes:
        points: (h, w, 3) float32 in the first view's camera.
        confidence: (h, w) float32 of these.
        local_points: (h, w, 3) float32 in the view's own camera, in a unit of its own.
        local_confidence: (h, w) float32 of these.
    """

    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    local_points: NDArray[np.float32]
    local_confidence: NDArray[np.float32]

    def global_from_local(self) -> Sim3:
        """Similarity that carries the local pointmap onto the global one; the identity where the points tell none."""
        sure = self.confidence >= np.quantile(self.confidence, SURE_SHARE)
        chosen = sure if sure.sum() >= 3 else np.ones_like(sure)
        try:
            return umeyama(self.local_points[chosen], self.points[chosen])
        except GeometryError:
            return Sim3()

    def aligned(self) -> NDArray[np.float32]:
        """(h, w, 3) float32: the local pointmap in the first view's camera."""
        return np.asarray(self.global_from_local().apply(self.local_points), dtype=np.float32)


def published_cameras(
    views: Sequence[ViewPointmaps], method: str, known: Sequence[NDArray[Any] | None] = ()
) -> list[tuple[float, Sim3 | None]]:
    """Focal length in pixels and pose of the camera in the first view's, of each view.

    Args:
        views: the first one's camera is the frame of the poses.
        method: whose focal length: ``first_view_from_global_head`` or ``first_view_from_local_head``, the first view's
            for all; ``individual``, for each the one of a hundred that most pixels agree with.
        known: (3, 3) camera matrices of calibrated views, None for the others; empty: none is calibrated.

    Returns:
        None for the pose where PnP finds none (the published code says identity).
    """
    shared = 0.0
    if method != "individual":
        first = views[0]
        is_global = method == "first_view_from_global_head"
        points, confidence = (
            (first.points, first.confidence) if is_global else (first.aligned(), first.local_confidence)
        )
        height, width = confidence.shape
        sure = confidence >= np.quantile(confidence, FOCAL_SHARE)
        shared = published_focal(points, (width / 2, height / 2), FOCAL_ITERATIONS, sure)
    found = []
    for view, matrix in zip(views, known or [None] * len(views), strict=True):
        if matrix is not None:
            found.append((float(matrix[0, 0]), _pose(view, matrix)[0]))
        elif method == "individual":
            found.append(_best_focal(view))
        else:
            found.append((shared, _pose(view, _matrix(view, shared))[0]))
    return found


def _matrix(view: ViewPointmaps, focal: float) -> NDArray[np.float32]:
    height, width = view.confidence.shape
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)


def _best_focal(view: ViewPointmaps) -> tuple[float, Sim3 | None]:
    side = max(view.confidence.shape)
    best: tuple[int, float, Sim3 | None] = (-1, 0.0, None)
    for focal in np.geomspace(side / 2, 3 * side, FOCAL_CANDIDATES):
        pose, inliers = _pose(view, _matrix(view, focal))
        if pose is not None and inliers > best[0]:
            best = (inliers, float(focal), pose)
    return best[1:]


def _pose(view: ViewPointmaps, matrix: NDArray[Any]) -> tuple[Sim3 | None, int]:
    """Pose by PnP on all pixels with any confidence, and how many agree with it; None and 0 where there is none."""
    height, width = view.confidence.shape
    # The published code takes a percentile here, too, but compares with 1, the least confidence.
    used = (view.confidence > 1.0) & np.isfinite(view.points).all(axis=-1)
    points = np.ascontiguousarray(view.points[used], dtype=np.float32)
    if len(points) < 4 or not np.isfinite(matrix).all():
        return None, 0
    pixels = pixel_grid(width, height)[used].astype(np.float32)
    try:
        is_found, vector, translation, inliers = cv2.solvePnPRansac(
            points,
            pixels,
            np.asarray(matrix, dtype=np.float32),
            None,
            iterationsCount=RANSAC_ITERATIONS,
            reprojectionError=REPROJECTION_ERROR,
            flags=cv2.SOLVEPNP_SQPNP,
        )
    except cv2.error:  # its solvers assert on some degenerate samples
        return None, 0
    if not is_found or inliers is None or not (np.isfinite(vector).all() and np.isfinite(translation).all()):
        return None, 0
    rotation = np.asarray(cv2.Rodrigues(vector)[0], dtype=np.float64)
    camera_from_first = Sim3.rigid(rotation, np.asarray(translation, dtype=np.float64).ravel())
    return camera_from_first.inverse(), len(inliers)
