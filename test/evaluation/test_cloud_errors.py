import json
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from tiny_models import GOLDEN

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.cloud_errors import (
    FAR_ERROR,
    compare_clouds,
    icp,
    lower_median,
    median_alignment,
    nearest,
    normals,
)
from spann3r_ros.sim3 import Sim3

RNG = np.random.default_rng(0)


def sphere(count: int, seed: int = 0) -> np.ndarray:
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_scores_equal_the_golden_ones() -> None:
    clouds = load_file(GOLDEN / "metrics_golden.safetensors")
    expected = json.loads((GOLDEN / "metrics_golden.json").read_text())
    errors = compare_clouds(
        clouds["rec"], clouds["gt"], predicted_normals=clouds["rec_normals"], true_normals=clouds["gt_normals"]
    )
    accuracy = (
        errors.accuracy_mean,
        errors.accuracy_median,
        errors.accuracy_normals_mean,
        errors.accuracy_normals_median,
    )
    completion = (
        errors.completion_mean,
        errors.completion_median,
        errors.completion_normals_mean,
        errors.completion_normals_median,
    )
    np.testing.assert_allclose(accuracy, expected["accuracy_mean_median_nc_mean_nc_median"], rtol=1e-12)
    np.testing.assert_allclose(completion, expected["completion_mean_median_nc_mean_nc_median"], rtol=1e-12)
    assert errors.recall == pytest.approx(expected["completion_ratio_005"], abs=1e-7)  # stored in float32
    assert errors.chamfer == pytest.approx((accuracy[0] + completion[0]) / 2)


def test_perfect_prediction() -> None:
    truth = sphere(500)
    errors = compare_clouds(truth, truth)
    assert (errors.accuracy_mean, errors.completion_mean, errors.chamfer) == (0.0, 0.0, 0.0)
    assert errors.accuracy_normals_mean == pytest.approx(1.0)
    assert errors.completion_normals_median == pytest.approx(1.0)
    assert (errors.precision, errors.recall, errors.f_score) == (1.0, 1.0, 1.0)


def test_half_the_cloud_is_accurate_but_incomplete() -> None:
    x = np.arange(100) * 1.0
    truth = np.column_stack([x, np.zeros(100), np.zeros(100)])
    errors = compare_clouds(truth[:50], truth, threshold=0.05)
    assert errors.accuracy_mean == 0.0
    assert errors.completion_mean == pytest.approx(np.concatenate([np.zeros(50), np.arange(1, 51)]).mean())
    assert (errors.precision, errors.recall) == (1.0, 0.5)
    assert errors.f_score == pytest.approx(2 / 3)


def test_normals_point_out_of_a_sphere() -> None:
    points = sphere(4000)
    agreement = np.abs((normals(points, chunk=700) * points).sum(1))
    assert agreement.mean() > 0.999
    np.testing.assert_array_equal(normals(points[:2]), [[0, 0, 1], [0, 0, 1]])


def test_lower_of_two_middle_values() -> None:
    assert lower_median(np.array([4.0, 1.0, np.nan, 3.0, 2.0])) == 2.0
    assert lower_median(np.array([5.0, 1.0, 3.0])) == 3.0
    with pytest.raises(DataError, match="no values"):
        lower_median(np.array([np.nan]))


def test_median_alignment_undoes_scale_and_shift_along_z() -> None:
    truth = RNG.normal([0.0, 0.0, 3.0], 1.0, (1001, 3))
    predicted = 0.25 * (truth - [0.0, 0.0, 1.7])
    aligned = median_alignment(predicted, truth).apply(predicted)
    np.testing.assert_allclose(aligned[:, 2], truth[:, 2], atol=1e-9)
    np.testing.assert_allclose(aligned, truth, atol=1e-9)


def test_median_alignment_against_the_formulas_in_torch() -> None:
    torch = pytest.importorskip("torch")
    truth = torch.from_numpy(RNG.normal([0.1, -0.2, 2.0], 1.0, (500, 3)))
    predicted = torch.from_numpy(RNG.normal([0.0, 0.1, 1.0], 0.4, (500, 3)))
    z_truth, z_predicted = truth[:, 2].nanmedian(), predicted[:, 2].nanmedian()
    shifted_truth, shifted = truth.clone(), predicted.clone()
    shifted_truth[:, 2] -= z_truth
    shifted[:, 2] -= z_predicted
    spread_truth = (shifted_truth - shifted_truth.nanmedian(0).values).norm(dim=1).nanmedian()
    spread = (shifted - shifted.nanmedian(0).values).norm(dim=1).nanmedian().clip(1e-3, 1e3)
    expected = shifted * spread_truth / spread
    expected[:, 2] += z_truth
    found = median_alignment(predicted.numpy(), truth.numpy()).apply(predicted.numpy())
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-12)


def test_icp_recovers_a_small_motion() -> None:
    target = RNG.uniform(size=(3000, 3)) * [2.0, 1.0, 0.5]
    motion = Sim3.rigid(Rotation.from_euler("xyz", [0.01, -0.005, 0.008]).as_matrix(), np.array([0.01, 0.005, -0.01]))
    found = icp(motion.inverse().apply(target), target, max_distance=0.1)
    np.testing.assert_allclose(found.matrix(), motion.matrix(), atol=1e-5)


def test_icp_without_a_neighbor_does_nothing() -> None:
    target = RNG.uniform(size=(50, 3))
    np.testing.assert_array_equal(icp(target + 10.0, target, max_distance=0.1).matrix(), np.eye(4))


def test_empty_clouds_are_refused() -> None:
    with pytest.raises(DataError, match="predicted cloud"):
        compare_clouds(np.empty((0, 3)), sphere(5))
    with pytest.raises(DataError, match="true cloud"):
        compare_clouds(sphere(5), np.empty((0, 3)))


def test_icp_and_normals_equal_those_of_open3d() -> None:
    reason = "cross-check only: open3d (400 MB) is no dependency; `pip install open3d` to run it"
    open3d = pytest.importorskip("open3d", reason=reason, exc_type=ImportError)

    def cloud(points: np.ndarray) -> Any:
        made = open3d.geometry.PointCloud()
        made.points = open3d.utility.Vector3dVector(points)
        return made

    target = sphere(3000) * [1.0, 0.7, 0.4]
    motion = Sim3.rigid(Rotation.from_euler("xyz", [0.05, -0.03, 0.04]).as_matrix(), np.array([0.03, 0.02, -0.04]))
    source = motion.apply(target[::2]) + RNG.normal(0.0, 0.01, (1500, 3))
    theirs = open3d.pipelines.registration.registration_icp(
        cloud(source),
        cloud(target),
        0.1,
        np.eye(4),
        open3d.pipelines.registration.TransformationEstimationPointToPoint(),
    )
    np.testing.assert_allclose(icp(source, target, 0.1).matrix(), theirs.transformation, atol=1e-9)
    described = cloud(target)
    described.estimate_normals()
    agreement = np.abs((np.asarray(described.normals) * normals(target)).sum(1))
    np.testing.assert_allclose(agreement, 1.0, atol=1e-9)


def test_neighbors_are_exact_nearby_and_good_enough_from_afar() -> None:
    cloud = sphere(2000)
    near, far = sphere(300, seed=1) * 1.2, sphere(300, seed=2) * 1e4
    distance, index = nearest(np.concatenate([near, far]), cKDTree(cloud))
    true = np.linalg.norm(np.concatenate([near, far])[:, None] - cloud, axis=2)
    np.testing.assert_allclose(distance[:300], true[:300].min(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(index[:300], true[:300].argmin(axis=1))
    np.testing.assert_allclose(distance[300:], true[300:].min(axis=1), rtol=FAR_ERROR)
    np.testing.assert_allclose(distance[300:], true[np.arange(300, 600), index[300:]], rtol=1e-12)
    single, _ = nearest(near, cKDTree(cloud[:1]))  # of no extent at all
    np.testing.assert_allclose(single, np.linalg.norm(near - cloud[0], axis=1), rtol=FAR_ERROR)
