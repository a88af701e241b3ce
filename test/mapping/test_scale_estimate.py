from __future__ import annotations

import numpy as np

from spann3r_ros.mapping.scale_estimate import LEAST_BATCHES, robust_mean, series_mean


def test_the_mean_stands_outliers_and_its_deviation_is_true() -> None:
    rng = np.random.default_rng(0)
    misses = []
    for _ in range(200):
        values = rng.normal(3.0, 0.2, 40)
        values[:6] = [*rng.uniform(-17, 0, 3), *rng.uniform(6, 23, 3)]
        found = robust_mean(values, np.full(40, 0.2))
        assert found is not None
        misses.append((found[0] - 3.0) / found[1])
    assert 0.6 < np.std(misses) < 1.2 and abs(np.mean(misses)) < 0.3


def test_measurements_that_are_too_sure_of_themselves_do_not_make_the_mean_so() -> None:
    values = np.array([1.0, 1.3, 0.8, 1.2, 0.7, 1.0])
    found = robust_mean(values, np.full(6, 1e-6))
    assert found is not None and found[1] > 0.05


def test_few_say_nothing() -> None:
    assert robust_mean(np.ones(LEAST_BATCHES - 1), np.ones(LEAST_BATCHES - 1)) is None
    assert robust_mean(np.ones(LEAST_BATCHES), np.full(LEAST_BATCHES, 0.1)) is not None


def test_a_slowly_wandering_series_is_not_as_sure_as_it_is_long() -> None:
    rng = np.random.default_rng(1)
    wander = np.cumsum(rng.normal(0, 0.01, 600))
    found = series_mean(wander, np.full(600, 0.01))
    white = series_mean(rng.normal(0, 0.1, 600), np.full(600, 0.1))
    assert found is not None and white is not None
    assert found[1] > 5 * 0.1 / np.sqrt(600)
    assert white[1] < 3 * 0.1 / np.sqrt(600)
