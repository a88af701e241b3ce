import re

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.spatial.transform import Rotation
from tiny_models import GOLDEN

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry import pnp
from spann3r_ros.geometry.camera import pixel_grid, rays
from spann3r_ros.geometry.pnp import estimate_pose
from spann3r_ros.sim3 import Sim3

CAMERA = Intrinsics(105.0, 104.0, 60.0, 50.0, 128, 96)


def random_pose(seed: int) -> Sim3:
    rng = np.random.default_rng(seed)
    rotation = Rotation.from_euler("yxz", rng.uniform((-180, -20, -8), (180, 20, 8)), degrees=True).as_matrix()
    return Sim3.rigid(rotation, rng.uniform((-1.0, -0.4, -0.8), (1.0, 0.4, 0.8)))


def room(world_from_camera: Sim3, intrinsics: Intrinsics = CAMERA) -> np.ndarray:
    """Exact pointmap of a 5 x 2.6 x 4 m room seen from inside."""
    directions = rays(intrinsics) @ world_from_camera.rotation.T
    walls = np.where(directions > 0, 1.0, -1.0) * (2.5, 1.3, 2.0)
    distance = ((walls - world_from_camera.translation) / directions).min(axis=2)
    return world_from_camera.translation + distance[..., None] * directions


def errors(found: Sim3, true: Sim3) -> tuple[float, float]:
    """(position in meters, angle in degrees)."""
    difference = true.inverse() @ found
    return float(np.linalg.norm(difference.translation)), float(np.degrees(difference.rotation_angle()))


def blocky(points: np.ndarray, true: Sim3, seed: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The errors of a small network: constant over 16 x 16 patches, of very different size, known only roughly."""
    rng = np.random.default_rng(seed)
    rows, columns = points.shape[0] // 16, points.shape[1] // 16
    sizes = level * np.exp(rng.normal(0, 0.7, (rows, columns)))
    offsets = rng.normal(0, 1, (rows, columns, 3)) * sizes[..., None]
    depth = np.linalg.norm(points - true.translation, axis=2, keepdims=True)
    noisy = points + depth * np.kron(offsets, np.ones((16, 16, 1)))
    confidence = 1 / (1 + sizes / level * np.exp(rng.normal(0, 0.4, sizes.shape)))
    return noisy.astype(np.float32), np.kron(confidence, np.ones((16, 16))).astype(np.float32)


def test_the_case_of_the_published_demo():
    golden = load_file(GOLDEN / "camera_golden.safetensors")
    points = golden["pts_world1"]
    estimate = estimate_pose(points, np.ones(points.shape[:2]), Intrinsics(71.3, 71.3, 32.0, 24.0, 64, 48))
    np.testing.assert_allclose(estimate.world_from_camera.matrix(), golden["true_c2w"], rtol=0, atol=4e-3)


@pytest.mark.parametrize("seed", range(8))
def test_exact_points_give_the_exact_pose(seed):
    true = random_pose(seed)
    estimate = estimate_pose(room(true), np.full((96, 128), 0.5), CAMERA)
    position, angle = errors(estimate.world_from_camera, true)
    assert estimate.reason == "" and estimate.inlier_share == 1.0
    assert position < 1e-6 and angle < 1e-5


@pytest.mark.parametrize("seed", range(8))
def test_noise_and_forty_percent_outliers(seed):
    rng = np.random.default_rng(seed)
    true = random_pose(seed)
    points = room(true) + rng.normal(0, 0.01, (96, 128, 3))
    wrong = rng.random((96, 128)) < 0.4
    points[wrong] = rng.uniform((-2.5, -1.3, -2), (2.5, 1.3, 2), (int(wrong.sum()), 3))
    estimate = estimate_pose(points.astype(np.float32), np.full((96, 128), 0.5, np.float32), CAMERA)
    position, angle = errors(estimate.world_from_camera, true)
    assert position < 0.02 and angle < 0.3
    assert 0.5 < estimate.inlier_share < 0.65


def test_blocky_errors_cost_a_quarter_less_than_in_plain_ransac():
    ours, plain = [], []
    pixels = pixel_grid(128, 96).reshape(-1, 2)
    for seed in range(40):
        true = random_pose(seed)
        points, confidence = blocky(room(true), true, seed, level=0.05)
        estimate = estimate_pose(points, confidence, CAMERA, reprojection_error=8.0, min_inliers=0.2)
        ours.append(errors(estimate.world_from_camera, true))
        flat = points.reshape(-1, 3).astype(np.float64)
        _, vector, translation, _ = cv2.solvePnPRansac(flat, pixels, CAMERA.matrix(), None)
        rotation = cv2.Rodrigues(vector)[0]
        plain.append(errors(Sim3.rigid(rotation.T, -rotation.T @ translation.ravel()), true))
    ours, plain = (np.median(values, axis=0) for values in (ours, plain))
    assert (ours < 0.75 * plain).all(), (ours, plain)


def test_confidence_decides_between_two_halves_that_disagree():
    true, other = random_pose(1), random_pose(2)
    points = room(true)
    moved = (other @ true.inverse()).apply(points)
    left = np.zeros((96, 128), bool)
    left[:, :64] = True
    mixed = np.where(left[..., None], points, moved)
    for favored, pose in ((left, true), (~left, other)):
        estimate = estimate_pose(mixed, np.where(favored, 0.9, 0.1), CAMERA)
        position, angle = errors(estimate.world_from_camera, pose)
        assert position < 1e-3 and angle < 1e-2


def test_no_random_state_enters_the_result():
    true = random_pose(3)
    points, confidence = blocky(room(true), true, 3, level=0.02)
    found = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002 (the global state is what must not matter)
        cv2.setRNGSeed(seed)
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        found.append(estimate_pose(points, confidence, CAMERA, reprojection_error=6.0).world_from_camera.matrix())
        np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_array_equal(found[0], found[1])


def test_a_far_world_origin_costs_no_digits():
    true = random_pose(4)
    shift = np.array([4e5, -3e5, 100.0])
    estimate = estimate_pose(room(true) + shift, np.ones((96, 128)), CAMERA)
    moved = Sim3.rigid(true.rotation, true.translation + shift)
    assert errors(estimate.world_from_camera, moved)[0] < 1e-5


def test_a_flat_wall_is_enough():
    true = Sim3.rigid(Rotation.from_euler("y", 25, degrees=True).as_matrix(), np.zeros(3))
    directions = rays(CAMERA) @ true.rotation.T
    wall = directions * (3.0 / directions[..., 2:])
    position, angle = errors(estimate_pose(wall, np.ones((96, 128)), CAMERA).world_from_camera, true)
    assert position < 1e-5 and angle < 1e-4


def few_points():
    confidence = np.zeros((96, 128))
    confidence[40, 40:55] = 0.9
    return room(random_pose(0)), confidence


def one_line():
    points = np.zeros((96, 128, 3))
    points[..., 0] = np.linspace(0, 1, 128)
    return points, np.ones((96, 128))


def noise():
    return np.random.default_rng(0).normal(0, 2, (96, 128, 3)), np.ones((96, 128))


def a_speck():
    true = random_pose(0)
    points = room(true) + np.random.default_rng(0).normal(0, 0.02, (96, 128, 3))
    confidence = np.zeros((96, 128))
    confidence[40:46, 60:66] = 0.9
    return points, confidence


def all_nan():
    return np.full((96, 128, 3), np.nan), np.ones((96, 128))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (few_points, "15 confident points"),
        (all_nan, "0 confident points"),
        (one_line, "one line or in one place"),
        (lambda: (np.zeros((96, 128, 3)), np.ones((96, 128))), "one line or in one place"),
        (noise, "points agree within|explains enough"),
        (a_speck, "the position is ambiguous by"),
    ],
)
def test_it_says_when_and_why_it_cannot_tell(case, reason):
    estimate = estimate_pose(*case(), CAMERA)
    assert estimate.world_from_camera is None
    assert re.search(reason, estimate.reason), estimate.reason


def test_points_behind_the_camera_give_no_pose():
    # Mirrored through the camera's center, every point still projects onto its pixel, but from behind.
    true = random_pose(5)
    depth = np.random.default_rng(0).uniform(1.0, 5.0, (96, 128, 1))
    seen = true.apply(rays(CAMERA) * depth)
    assert estimate_pose(seen, np.ones((96, 128)), CAMERA).inlier_share == 1.0
    estimate = estimate_pose(2 * true.translation - seen, np.ones((96, 128)), CAMERA)
    assert estimate.world_from_camera is None and estimate.reason


def test_the_share_of_inliers_is_enforced():
    rng = np.random.default_rng(0)
    true = random_pose(6)
    points = room(true)
    wrong = rng.random((96, 128)) < 0.4
    points[wrong] = rng.uniform(-2, 2, (int(wrong.sum()), 3))
    assert estimate_pose(points, np.ones((96, 128)), CAMERA, min_inliers=0.5).world_from_camera is not None
    refused = estimate_pose(points, np.ones((96, 128)), CAMERA, min_inliers=0.7)
    assert refused.world_from_camera is None and "70% are needed" in refused.reason
    assert refused.inlier_share == pytest.approx(0.6, abs=0.03)


def test_sizes_that_do_not_fit_are_an_error():
    with pytest.raises(GeometryError, match="different sizes"):
        estimate_pose(np.zeros((96, 128, 3)), np.ones((128, 96)), CAMERA)


@pytest.mark.parametrize("seed", range(4))
def test_a_start_that_is_near_gives_the_pose_that_ransac_gives_and_one_that_is_wrong_is_found_out(seed):
    true = random_pose(seed)
    points = room(true).astype(np.float32)
    confidence = np.full((96, 128), 0.5, np.float32)
    near = Sim3.rigid(true.rotation @ cv2.Rodrigues(np.array([0.03, -0.02, 0.01]))[0], true.translation + 0.05)
    behind = Sim3.rigid(true.rotation @ np.diag([-1.0, 1.0, -1.0]), true.translation)
    for start in (near, behind):
        estimate = estimate_pose(points, confidence, CAMERA, start=start)
        position, angle = errors(estimate.world_from_camera, true)
        assert position < 1e-3 and angle < 0.02 and estimate.inlier_share > 0.95


@pytest.mark.parametrize("seed", range(6))
def test_the_refinement_ends_early_and_where_a_longer_one_would(seed, monkeypatch):
    points, confidence = blocky(room(random_pose(seed)), random_pose(seed), seed, level=0.05)
    rounds = []
    whole = pnp._Refinement._normal_equations
    monkeypatch.setattr(pnp._Refinement, "_normal_equations", lambda *a: rounds.append(1) or whole(*a))
    found = estimate_pose(points, confidence, CAMERA, samples=800, min_inliers=0.2)
    usual = len(rounds)
    monkeypatch.setattr(pnp, "SMALL", 1e-6)
    monkeypatch.setattr(pnp, "REFINE_ITERATIONS", 200)
    exact = estimate_pose(points, confidence, CAMERA, samples=800, min_inliers=0.2)
    apart = found.world_from_camera.inverse() @ exact.world_from_camera
    deviations = np.sqrt(np.diag(exact.covariance))
    assert np.linalg.norm(apart.translation) < 0.2 * np.linalg.norm(deviations[:3])
    assert apart.rotation_angle() < 0.2 * np.linalg.norm(deviations[3:])
    assert usual <= 17, "without extrapolation it takes twenty rounds and more"
