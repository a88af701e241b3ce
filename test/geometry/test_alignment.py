import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.alignment import align_robust, umeyama
from spann3r_ros.sim3 import Sim3


def similarity(seed: int, scale: float = 1.0) -> Sim3:
    rng = np.random.default_rng(seed)
    return Sim3(scale, Rotation.random(random_state=seed).as_matrix(), rng.uniform(-5, 5, 3))


def assert_same(found: Sim3, expected: Sim3, tolerance: float) -> None:
    np.testing.assert_allclose(found.matrix(), expected.matrix(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.01, 1.0, 37.0])
def test_a_known_similarity_is_recovered(seed, scale):
    source = np.random.default_rng(seed).normal(0, 2, (50, 3))
    true = similarity(seed, scale)
    assert_same(umeyama(source, true.apply(source)), true, 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_plane_and_three_points_are_enough(seed):
    rng = np.random.default_rng(seed)
    true = similarity(seed, 2.0)
    flat = rng.normal(0, 1, (30, 3)) * (1, 1, 0)
    assert_same(umeyama(flat, true.apply(flat)), true, 1e-9)
    three = rng.normal(0, 1, (3, 3))
    assert_same(umeyama(three, true.apply(three)), true, 1e-9)


def test_without_scale_the_transform_is_rigid():
    source = np.random.default_rng(0).normal(0, 1, (50, 3))
    true = similarity(1)
    found = umeyama(source, true.apply(source) * 1.0, with_scale=False)
    assert found.scale == 1.0
    assert_same(found, true, 1e-9)
    stretched = umeyama(source, similarity(1, 3.0).apply(source), with_scale=False)
    assert stretched.scale == 1.0
    np.testing.assert_allclose(stretched.rotation, true.rotation, atol=1e-9)


def test_a_mirror_image_still_gives_a_rotation():
    source = np.random.default_rng(0).normal(0, 1, (50, 3))
    found = umeyama(source, source * (1, 1, -1))
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)


def test_noise_is_averaged_to_the_least_squares_optimum():
    rng = np.random.default_rng(0)
    source = rng.normal(0, 2, (400, 3))
    true = similarity(3, 1.7)
    target = true.apply(source) + rng.normal(0, 0.05, source.shape)
    found = umeyama(source, target)

    def cost(candidate: Sim3) -> float:
        return float(((candidate.apply(source) - target) ** 2).sum())

    assert cost(found) < cost(true)
    for axis in range(3):
        for size in (-1e-4, 1e-4):
            turn = Sim3(rotation=Rotation.from_rotvec(np.eye(3)[axis] * size).as_matrix())
            shift = Sim3(translation=np.eye(3)[axis] * size)
            assert cost(found) < cost(turn @ found)
            assert cost(found) < cost(shift @ found)
    for factor in (0.9999, 1.0001):
        assert cost(found) < cost(found @ Sim3(factor))


def test_weights_of_zero_remove_pairs_and_integers_repeat_them():
    rng = np.random.default_rng(0)
    source = rng.normal(0, 2, (40, 3))
    target = similarity(3, 1.7).apply(source) + rng.normal(0, 0.1, source.shape)
    weights = rng.integers(0, 4, 40)
    repeated = np.repeat(np.arange(40), weights)
    assert_same(umeyama(source, target, weights), umeyama(source[repeated], target[repeated]), 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_sixty_percent_outliers(seed):
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 2, (500, 3))
    true = similarity(seed, 1.5)
    target = true.apply(source) + rng.normal(0, 0.01, source.shape)
    wrong = rng.random(500) < 0.6
    target[wrong] += rng.normal(0, 3, (int(wrong.sum()), 3))
    found = align_robust(source, target, 0.05)
    assert_same(found.target_from_source, true, 0.02)
    assert found.inliers[~wrong].all()
    assert found.inliers[wrong].mean() < 0.02


def test_robust_equals_plain_without_outliers():
    source = np.random.default_rng(0).normal(0, 2, (60, 3))
    true = similarity(2, 0.5)
    found = align_robust(source, true.apply(source), 0.1)
    assert found.inliers.all()
    assert_same(found.target_from_source, true, 1e-9)


def test_pairs_without_any_agreement_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(GeometryError):
        align_robust(rng.normal(0, 1, (40, 3)), rng.normal(0, 1, (40, 3)), 1e-4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((10, 3)), "one line"),
        (np.arange(30.0).reshape(10, 3)[:, :1] * np.ones(3), "one line"),
        (np.eye(3)[:2], "3 of weight"),
        (np.zeros((10, 2)), "expected"),
        (np.full((10, 3), np.nan), "finite"),
    ],
)
def test_points_that_leave_it_open_are_refused(source, message):
    with pytest.raises(GeometryError, match=message):
        umeyama(source, source)


def test_bad_weights_and_distances_are_refused():
    points = np.random.default_rng(0).normal(size=(10, 3))
    with pytest.raises(GeometryError, match="weights"):
        umeyama(points, points, np.ones(9))
    with pytest.raises(GeometryError, match="weights"):
        umeyama(points, points, -np.ones(10))
    with pytest.raises(GeometryError, match="distance"):
        align_robust(points, points, 0.0)
