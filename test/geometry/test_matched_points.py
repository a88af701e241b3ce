from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.matched_points import align_matches
from spann3r_ros.sim3 import Sim3

TRUTH = Sim3(2.5, Rotation.from_rotvec([0.3, -1.1, 0.4]).as_matrix(), np.array([3.0, -1.0, 7.0]))


def matched(count: int = 300, wrong: float = 0.0, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    source = rng.uniform(-1, 1, (count, 3)) * [2, 1, 0.5]
    target = TRUTH.apply(source) + rng.normal(0, noise, (count, 3)) if noise else TRUTH.apply(source)
    swapped = rng.random(count) < wrong
    target[swapped] = rng.permutation(target)[swapped]
    return source, target, np.ones(count)


@pytest.mark.parametrize("wrong", [0.0, 0.3, 0.5])
def test_wrong_matches_do_no_harm(wrong: float) -> None:
    source, target, weights = matched(wrong=wrong)
    found = align_matches(source, target, weights)
    np.testing.assert_allclose(found.target_from_source.matrix(), TRUTH.matrix(), atol=1e-9)
    right = np.linalg.norm(TRUTH.apply(source) - target, axis=1) < 1e-6
    assert found.inliers[right].mean() > 0.99 and not found.inliers[~right].any()


def test_points_far_away_on_the_source_side_do_no_harm() -> None:
    source, target, weights = matched()
    source[::4] = [50.0, 50.0, 50.0]
    found = align_matches(source, target, weights)
    np.testing.assert_allclose(found.target_from_source.matrix(), TRUTH.matrix(), atol=1e-9)


def test_noise_does_not_shrink_the_scene() -> None:
    source, target, weights = matched(3000, noise=0.1)
    source = source + np.random.default_rng(2).normal(0, 0.04, source.shape)
    assert align_matches(source, target, weights).target_from_source.scale == pytest.approx(TRUTH.scale, rel=0.02)


def test_the_same_input_gives_the_same_answer() -> None:
    matches = matched(wrong=0.4, noise=0.05)
    one, other = align_matches(*matches), align_matches(*matches)
    np.testing.assert_array_equal(one.target_from_source.matrix(), other.target_from_source.matrix())


def test_values_that_are_not_finite_and_weights_of_zero_do_not_count() -> None:
    source, target, weights = matched()
    source[:50], target[50:60], weights[60:70] = np.nan, np.inf, 0.0
    found = align_matches(source, target, weights)
    np.testing.assert_allclose(found.target_from_source.matrix(), TRUTH.matrix(), atol=1e-9)
    assert not found.inliers[:70].any() and found.inliers[70:].all()


def test_matches_at_random_agree_on_nothing() -> None:
    source, target, weights = matched()
    with pytest.raises(GeometryError, match="matches that agree on one similarity"):
        align_matches(source, np.random.default_rng(0).permutation(target), weights)


@pytest.mark.parametrize(("count", "message"), [(15, "matches that can be used: got 15; expected >= 16"), (0, "got 0")])
def test_too_few_are_refused(count: int, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        align_matches(*matched(count))


def test_wrong_shapes_and_points_in_one_place_are_refused() -> None:
    source, target, weights = matched()
    with pytest.raises(GeometryError, match="matched points"):
        align_matches(source, target[:-1], weights)
    with pytest.raises(GeometryError):
        align_matches(np.ones_like(source), target, weights)
