"""How far a reconstructed cloud is from the true one: accuracy, completion, normal consistency, chamfer, F-score.

The protocol is that of Spann3R's evaluation (3DV 2025, section 4): align, refine by ICP, then compare nearest
neighbors both ways. ICP (point to point) and normals (PCA of 30 neighbors) follow Open3D's defaults, written on
scipy's KD-tree because each is a few lines and the library is 400 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spann3r_ros.errors import DataError
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]

NORMAL_NEIGHBORS = 30
ICP_ITERATIONS = 30
ICP_TOLERANCE = 1e-6

FAR_ERROR = 1e-3
"""Relative error of distances that are larger than the other cloud itself."""


@dataclass(frozen=True)
class GeometryErrors:
    """Comparison of a predicted cloud with the true one; lengths in the unit of the truth.

    Attributes:
        accuracy_mean, accuracy_median: distance from predicted points to the nearest true one.
        completion_mean, completion_median: distance from true points to the nearest predicted one.
        accuracy_normals_mean, accuracy_normals_median: ``|n . n'|`` of predicted points and their nearest (NC1).
        completion_normals_mean, completion_normals_median: the same from the truth (NC2).
        chamfer: mean of ``accuracy_mean`` and ``completion_mean``.
        threshold: distance that counts as right in the following three.
        precision, recall: share of the predicted / true points closer than ``threshold`` to the other cloud.
        f_score: their harmonic mean.
        predicted_points, true_points: how many were compared.
    """

    accuracy_mean: float
    accuracy_median: float
    completion_mean: float
    completion_median: float
    accuracy_normals_mean: float
    accuracy_normals_median: float
    completion_normals_mean: float
    completion_normals_median: float
    chamfer: float
    threshold: float
    precision: float
    recall: float
    f_score: float
    predicted_points: int
    true_points: int


def lower_median(values: NDArray[Any]) -> float:
    """Median of a flat array without its NaN values; of an even number the lower of the two middle ones.

    Raises:
        DataError: nothing but NaN.
    """
    values = values[~np.isnan(values)]
    if len(values) == 0:
        raise DataError("median of no values", next_step="There is no pixel with both a prediction and a true depth")
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])


def median_alignment(predicted: NDArray[Any], truth: NDArray[Any]) -> Sim3:
    """``truth_from_predicted`` by medians of depth and of spread: a scale and a shift along z, no rotation.

    Args:
        predicted, truth: (N, 3) points of the same N pixels, in the optical frame of the first camera.
    """
    depth_truth, depth_predicted = lower_median(truth[:, 2]), lower_median(predicted[:, 2])
    spread_truth, spread_predicted = _spread(truth), _spread(predicted)
    scale = spread_truth / np.clip(spread_predicted, 1e-3, 1e3)
    return Sim3(scale, np.eye(3), np.array([0.0, 0.0, depth_truth - scale * depth_predicted]))


def _spread(points: NDArray[Any]) -> float:
    """Median distance to the median point."""
    center = [lower_median(points[:, axis]) for axis in range(3)]
    return lower_median(np.linalg.norm(points - center, axis=1))


def icp(source: NDArray[Any], target: NDArray[Any], max_distance: float, tree: cKDTree | None = None) -> Sim3:
    """Rigid ``target_from_source`` by point-to-point ICP from the identity.

    It ends after 30 rounds, or when the share of matched points and their RMS distance change by less than 1e-6.

    Args:
        source, target: (N, 3) and (M, 3) points.
        max_distance: neighbors farther than this are no match, in the unit of the points.
        tree: KD-tree of ``target`` when there is one already.
    """
    tree = tree or cKDTree(target)
    target_from_source = Sim3()
    moved = np.asarray(source, dtype=np.float64)
    fitness, error, near, matched = _match(moved, tree, max_distance)
    for _ in range(ICP_ITERATIONS):
        if matched.sum() < 3:
            break
        update = umeyama(moved[matched], np.asarray(target, np.float64)[near[matched]], with_scale=False)
        target_from_source = update @ target_from_source
        moved = update.apply(moved)
        before = (fitness, error)
        fitness, error, near, matched = _match(moved, tree, max_distance)
        if abs(fitness - before[0]) < ICP_TOLERANCE and abs(error - before[1]) < ICP_TOLERANCE:
            break
    return target_from_source


def _match(
    points: Array, tree: cKDTree, max_distance: float
) -> tuple[float, float, NDArray[np.intp], NDArray[np.bool_]]:
    """Share of the points with a neighbor, RMS distance to it, index of the neighbor, and which points have one."""
    distance, near = tree.query(points, distance_upper_bound=max_distance, workers=-1)
    matched = np.isfinite(distance)
    error = float(np.sqrt(np.mean(np.square(distance[matched])))) if matched.any() else 0.0
    return float(matched.mean()), error, near, matched


def normals(points: NDArray[Any], tree: cKDTree | None = None, chunk: int = 50_000) -> Array:
    """(N, 3) unit normals, of either sign: the direction in which a point's 30 nearest neighbors spread least."""
    tree = tree or cKDTree(points)
    points = np.asarray(points, dtype=np.float64)
    found = np.tile([0.0, 0.0, 1.0], (len(points), 1))
    count = min(NORMAL_NEIGHBORS, len(points))
    if count < 3:
        return found
    for start in range(0, len(points), chunk):
        _, near = tree.query(points[start : start + chunk], k=count, workers=-1)
        around = points[near]
        around -= around.mean(axis=1, keepdims=True)
        covariance = around.transpose(0, 2, 1) @ around
        found[start : start + chunk] = np.linalg.eigh(covariance)[1][:, :, 0]
    return found


def nearest(points: NDArray[Any], tree: cKDTree) -> tuple[Array, NDArray[np.intp]]:
    """Distance to the nearest neighbor of each point, and its index.

    From afar every point of a cloud is about as near as every other, and an exact search looks at all of them: a
    network's wild points made it take minutes. Beyond the cloud's own diameter ``FAR_ERROR`` is enough.

    Args:
        points: (N, 3) finite points.
        tree: of the other cloud.
    """
    diameter = float(np.linalg.norm(tree.maxes - tree.mins))
    distance, index = tree.query(points, distance_upper_bound=max(diameter, np.finfo(np.float64).tiny), workers=-1)
    far = ~np.isfinite(distance)
    if far.any():
        distance[far], index[far] = tree.query(np.asarray(points)[far], eps=FAR_ERROR, workers=-1)
    return distance, index


def compare_clouds(
    predicted: NDArray[Any],
    truth: NDArray[Any],
    *,
    predicted_normals: NDArray[Any] | None = None,
    true_normals: NDArray[Any] | None = None,
    threshold: float = 0.05,
) -> GeometryErrors:
    """Nearest neighbors both ways, clouds taken as they are (see ``median_alignment`` and ``icp``).

    Args:
        predicted, truth: (N, 3) and (M, 3) finite points in one frame.
        predicted_normals, true_normals: unit normals; estimated when not given.
        threshold: distance of precision, recall and F-score (5 cm when the unit is the meter).

    Raises:
        DataError: an empty cloud.
    """
    for name, cloud in (("predicted", predicted), ("true", truth)):
        if len(cloud) == 0:
            raise DataError(f"the {name} cloud has no points", next_step="There is nothing to compare")
    predicted_tree, true_tree = cKDTree(predicted), cKDTree(truth)
    predicted_normals = normals(predicted, predicted_tree) if predicted_normals is None else predicted_normals
    true_normals = normals(truth, true_tree) if true_normals is None else true_normals
    to_truth, nearest_true = nearest(predicted, true_tree)
    to_predicted, nearest_predicted = nearest(truth, predicted_tree)
    agreement = np.abs((predicted_normals * true_normals[nearest_true]).sum(axis=1))
    agreement_back = np.abs((true_normals * predicted_normals[nearest_predicted]).sum(axis=1))
    precision, recall = float((to_truth < threshold).mean()), float((to_predicted < threshold).mean())
    return GeometryErrors(
        accuracy_mean=float(to_truth.mean()),
        accuracy_median=float(np.median(to_truth)),
        completion_mean=float(to_predicted.mean()),
        completion_median=float(np.median(to_predicted)),
        accuracy_normals_mean=float(agreement.mean()),
        accuracy_normals_median=float(np.median(agreement)),
        completion_normals_mean=float(agreement_back.mean()),
        completion_normals_median=float(np.median(agreement_back)),
        chamfer=float(to_truth.mean() + to_predicted.mean()) / 2,
        threshold=threshold,
        precision=precision,
        recall=recall,
        f_score=2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        predicted_points=len(predicted),
        true_points=len(truth),
    )
