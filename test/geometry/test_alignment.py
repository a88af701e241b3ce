import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.alignment import (
    MOST_PIXELS,
    PointmapSample,
    align_pointmaps,
    align_robust,
    align_samples,
    umeyama,
)
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
    with pytest.raises(GeometryError, match="distance"):
        align_robust(points, points, 1e-200)  # of which the square is 0


def bumpy_pointmaps(images: int = 3, height: int = 96, width: int = 128) -> np.ndarray:
    v, u = np.mgrid[:height, :width]
    rays = np.stack([(u - width / 2) / width, (v - height / 2) / width, np.ones_like(u, dtype=float)], axis=-1)
    depths = [3.0 + 0.4 * np.sin(u / 9 + k) + 0.3 * np.cos(v / 7) for k in range(images)]
    return np.stack([rays * depth[..., None] for depth in depths])


def sure(points: np.ndarray, value: float = 0.8) -> np.ndarray:
    return np.full(points.shape[:-1], value, np.float32)


@pytest.mark.parametrize("scale", [1e-3, 0.4, 1.0, 250.0])
def test_pointmaps_of_another_scale_are_joined_exactly(scale: float) -> None:
    target = bumpy_pointmaps()
    true = similarity(4, scale)
    source = true.inverse().apply(target).astype(np.float32)
    found = align_pointmaps(source, target.astype(np.float32), sure(source), sure(target)).target_from_source
    np.testing.assert_allclose(found.scale, scale, rtol=1e-6)
    np.testing.assert_allclose(found.apply(source), target, atol=1e-4 * max(1.0, scale * 1e-2))
    error = true.inverse() @ found
    assert abs(error.scale - 1) < 1e-6 and error.rotation_angle() < 1e-6
    assert np.linalg.norm(error.translation) * scale < 1e-5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.2, 0.4])
def test_noise_and_outliers_in_pointmaps_cost_a_hundredth(seed: int, share: float) -> None:
    rng, target = np.random.default_rng(seed), bumpy_pointmaps()
    true = similarity(seed, 2.0)
    source = true.inverse().apply(target + rng.normal(0, 0.02, target.shape))
    target = target + rng.normal(0, 0.02, target.shape)
    wrong = rng.random(target.shape[:-1]) < share
    target[wrong] = rng.uniform(-4, 4, (int(wrong.sum()), 3))
    found = align_pointmaps(source, target, sure(source), sure(target)).target_from_source
    error = true.inverse() @ found
    assert abs(error.scale - 1) < 0.01 and error.rotation_angle() < 0.01
    assert np.linalg.norm(true.apply(np.zeros(3)) - found.apply(np.zeros(3))) < 0.03 * (1 + np.linalg.norm([5, 5, 5]))


def test_a_chain_of_noisy_joints_does_not_shrink_the_scene() -> None:
    """Least squares, which takes the source to be exact, would lose a part of the scale with each of them."""
    rng, scene = np.random.default_rng(0), bumpy_pointmaps(1)
    scale, least_squares = 1.0, 1.0
    for _ in range(20):
        source, target = (scene + rng.normal(0, 0.03, scene.shape) for _ in range(2))
        scale *= align_pointmaps(source, target, sure(source), sure(target)).target_from_source.scale
        least_squares *= umeyama(source.reshape(-1, 3), target.reshape(-1, 3)).scale
    assert abs(np.log(scale)) < 0.01 < 0.02 < abs(np.log(least_squares))


def test_confident_pixels_decide() -> None:
    target = bumpy_pointmaps()
    true = similarity(1, 0.5)
    source = true.inverse().apply(target)
    confidence = sure(source)
    target[:, :60] += 1.0  # more than half of them, but unsure
    confidence[:, :60] = 0.1
    assert_same(align_pointmaps(source, target, confidence, confidence).target_from_source, true, 1e-6)
    source[0, 70], target[0, 71] = np.nan, np.inf  # not finite: not looked at
    assert_same(align_pointmaps(source, target, confidence, confidence).target_from_source, true, 1e-6)


def test_only_so_many_pixels_are_looked_at_and_always_the_same() -> None:
    target = bumpy_pointmaps(4, 160, 256)
    target += np.random.default_rng(0).normal(0, 0.01, target.shape)
    one, other = (align_pointmaps(bumpy_pointmaps(4, 160, 256), target, sure(target), sure(target)) for _ in range(2))
    assert MOST_PIXELS // 2 < len(one.inliers) <= MOST_PIXELS
    assert one.target_from_source.matrix().tobytes() == other.target_from_source.matrix().tobytes()


def test_samples_of_several_images_are_joined_together() -> None:
    target = bumpy_pointmaps(3, 240, 320)
    true = similarity(2, 3.0)
    source = true.inverse().apply(target).astype(np.float32)
    samples = [
        [PointmapSample.of(points, sure(points)) for points in pointmaps.astype(np.float32)]
        for pointmaps in (source, target)
    ]
    assert {sample.confidence.shape for sample in samples[0]} == {(80, 107)}
    assert samples[0][0].nbytes == 80 * 107 * 16
    spoiled = source[0].copy()
    spoiled[3, 6], spoiled[6, 3] = np.nan, np.inf
    samples[0][0] = PointmapSample.of(spoiled, sure(spoiled))
    assert np.isfinite(samples[0][0].points).all() and samples[0][0].points.dtype == np.float32
    assert (samples[0][0].confidence == 0).sum() == 2 and samples[0][0].confidence.dtype == np.float32
    assert_same(align_samples(*samples).target_from_source, true, 1e-4)
    with pytest.raises(GeometryError, match="of the same size in both"):
        align_samples([], [])
    small = PointmapSample.of(target[0, :60].astype(np.float32), sure(target[0, :60]))
    with pytest.raises(GeometryError, match="of the same size in both"):
        align_samples([small], samples[1][:1])


def test_pointmaps_that_do_not_belong_together_are_refused() -> None:
    rng, target = np.random.default_rng(0), bumpy_pointmaps()
    with pytest.raises(GeometryError, match=r"pixels that agree.*expected >= 50%"):
        align_pointmaps(rng.normal(0, 1, target.shape), target, sure(target), sure(target))
    with pytest.raises(GeometryError, match="pixels that agree"):  # the camera looked elsewhere
        align_pointmaps(target[:, ::-1, ::-1] * (1, 1, 3), target, sure(target), sure(target))
    with pytest.raises(GeometryError, match="got 0; expected >= 16"):
        align_pointmaps(target * np.nan, target, sure(target), sure(target))
    with pytest.raises(GeometryError, match="got 0; expected >= 16"):
        align_pointmaps(target, target, sure(target, 0.0), sure(target))
    with pytest.raises(GeometryError, match="one line"):
        align_pointmaps(target * 0, target, sure(target), sure(target))


def test_pointmaps_of_other_shapes_are_refused() -> None:
    target = bumpy_pointmaps()
    for arrays in (
        (target[1:], target, sure(target), sure(target)),
        (target, target, sure(target)[1:], sure(target)),
        (target, target, sure(target), sure(target)[1:]),
        (target, target, sure(target)[1:], sure(target)[1:]),
        (target[..., :2], target[..., :2], sure(target), sure(target)),
    ):
        with pytest.raises(GeometryError, match="pointmaps to align"):
            align_pointmaps(*arrays)
