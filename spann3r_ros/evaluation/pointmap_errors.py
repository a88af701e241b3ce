"""Predicted pointmaps compared with true depth, pixel by pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.models.preprocess import CropPlan, cover
from spann3r_ros.recordings.sequence import DepthImage, GroundTruth
from spann3r_ros.runs.folder import StoredPointmap
from spann3r_ros.sim3 import Sim3


@dataclass(frozen=True, eq=False)
class PairedPoints:
    """The same N pixels of all frames, predicted and true, in the optical frame of the first camera.

    Attributes:
        predicted: (N, 3) float64 in the model's unit.
        true: (N, 3) float64 in the truth's unit.
        frames: how many frames they come from.
        left_out: frames that could not be used, by reason; and ``points that are not finite``.
    """

    predicted: NDArray[np.float64]
    true: NDArray[np.float64]
    frames: int
    left_out: dict[str, int]


@dataclass(frozen=True)
class PointmapErrors:
    """Distance between predicted and true point of the same pixel, over the scale of the scene.

    Attributes:
        scale: mean distance of the true points from the first camera, in the truth's unit.
        raw_mean, raw_median: as predicted; only meaningful for a metric model.
        sim3_mean, sim3_median: after the best similarity.
    """

    scale: float
    raw_mean: float
    raw_median: float
    sim3_mean: float
    sim3_median: float

    @classmethod
    def of(cls, pairs: PairedPoints, true_from_predicted: Sim3) -> PointmapErrors:
        """With the similarity of all pairs, found before."""
        scale = float(np.linalg.norm(pairs.true, axis=1).mean())
        raw = np.linalg.norm(pairs.predicted - pairs.true, axis=1) / scale
        aligned = np.linalg.norm(true_from_predicted.apply(pairs.predicted) - pairs.true, axis=1) / scale
        return cls(scale, float(raw.mean()), float(np.median(raw)), float(aligned.mean()), float(np.median(aligned)))


def paired_points(
    pointmaps: Iterable[StoredPointmap], truth: GroundTruth, max_gap: int, per_frame: int = 0
) -> PairedPoints:
    """Every pixel that has a prediction and a true depth.

    Args:
        pointmaps: of one run, in order; the first one's camera is the origin of both clouds.
        truth: poses and depth.
        max_gap: nanoseconds between a frame and the pose and depth that count as its own.
        per_frame: most pixels of each frame, drawn with seed 0; 0: all.

    Raises:
        DataError: no true poses, no pose of the first frame, or not a single pair.
    """
    if truth.trajectory is None:
        raise DataError("true depth without true poses", got=truth.origin, expected="both")
    rng = np.random.default_rng(0)
    optical_from_ros = ROS_FROM_OPTICAL.inverse()
    left_out: Counter[str] = Counter()
    predicted, true = [], []
    first_from_world: Sim3 | None = None
    for pointmap in pointmaps:
        pose = truth.trajectory.at(pointmap.stamp, max_gap)
        if first_from_world is None:
            if pose is None:
                raise DataError(
                    "no true pose of the first frame",
                    got=f"stamp {pointmap.stamp / 1e9:.3f} s",
                    expected=f"one within {max_gap / 1e9:g} s",
                    next_step="Raise --max-gap, or begin the run where the ground truth begins",
                )
            first_from_world = pose.inverse()
        depth = truth.depth_at(pointmap.stamp, max_gap)
        if pose is None or depth is None:
            left_out["frame without true " + ("pose" if pose is None else "depth")] += 1
            continue
        found = true_pointmap(depth, pointmap)
        if found is None:
            left_out["frame without calibration of its depth image"] += 1
            continue
        known = np.flatnonzero(np.isfinite(found).all(axis=2))
        finite = np.isfinite(pointmap.points.reshape(-1, 3)[known]).all(axis=1)
        left_out["points that are not finite"] += int((~finite).sum())
        known = known[finite]
        if per_frame and len(known) > per_frame:
            known = np.sort(rng.choice(known, per_frame, replace=False))
        predicted.append(optical_from_ros.apply(pointmap.points.reshape(-1, 3)[known].astype(np.float64)))
        true.append((first_from_world @ pose).apply(found.reshape(-1, 3)[known].astype(np.float64)))
    if not sum(map(len, predicted)):
        raise DataError("no pixel has both a prediction and a true depth", got=dict(left_out) or "no pointmaps")
    return PairedPoints(np.concatenate(predicted), np.concatenate(true), len(predicted), dict(+left_out))


def true_from_run(pointmaps: Sequence[StoredPointmap], truth: GroundTruth, max_gap: int, per_frame: int = 2000) -> Sim3:
    """The similarity that brings the world of a run (ROS axes) onto the true one.

    Args:
        pointmaps, truth, max_gap, per_frame: as of ``paired_points``.

    Raises:
        DataError: as ``paired_points``.
        GeometryError: points that determine no similarity.
    """
    pairs = paired_points(pointmaps, truth, max_gap, per_frame)
    assert truth.trajectory is not None
    world_from_first = truth.trajectory.at(pointmaps[0].stamp, max_gap)
    assert world_from_first is not None
    return world_from_first @ umeyama(pairs.predicted, pairs.true) @ ROS_FROM_OPTICAL.inverse()


def true_pointmap(depth: DepthImage, pointmap: StoredPointmap) -> NDArray[np.float32] | None:
    """(h, w, 3) true points on the prediction's grid in the camera's optical axes; None without intrinsics.

    The depth image is cut and resized (nearest) exactly as the camera image was for the network.

    Raises:
        DataError: a depth image of another size than the camera image.
    """
    intrinsics = depth.intrinsics or pointmap.intrinsics
    if intrinsics is None:
        return None
    width, height = pointmap.size
    if depth.depth.shape != (height, width) or (intrinsics.width, intrinsics.height) != (width, height):
        raise DataError(
            "depth image of another size than the camera image",
            got=f"{depth.depth.shape[1]} x {depth.depth.shape[0]}",
            expected=f"{width} x {height}, registered to the camera image",
        )
    grid = pointmap.confidence.shape
    plan = cover(width, height, (grid[0], grid[1]), pointmap.intrinsics)
    return backproject(resample_depth(plan, depth.depth), plan.intrinsics(intrinsics))


def resample_depth(plan: CropPlan, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """The depth image as ``plan`` makes the camera image, without mixing neighbors."""
    crop, window = plan.crop, plan.window
    cut = np.ascontiguousarray(depth[crop.top : crop.bottom, crop.left : crop.right])
    if plan.size != (crop.width, crop.height):
        cut = np.asarray(cv2.resize(cut, plan.size, interpolation=cv2.INTER_NEAREST), dtype=np.float32)
    return cut[window.top : window.bottom, window.left : window.right]
