from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.geometry.likeness import LEAST_CONTRAST, LEAST_PIXELS, SMOOTHING, correlation, smooth_gray


def test_the_same_in_another_light_is_alike_and_its_negative_the_contrary() -> None:
    gray = np.random.default_rng(0).uniform(50, 200, 400).astype(np.float32)
    assert correlation(gray, 0.3 * gray + 20) == pytest.approx(1.0)
    assert correlation(gray, 255 - gray) == pytest.approx(-1.0)
    assert abs(correlation(gray, gray[::-1].copy())) < 0.2


def test_few_points_and_flat_walls_tell_nothing() -> None:
    gray = np.random.default_rng(1).uniform(50, 200, LEAST_PIXELS).astype(np.float32)
    assert np.isfinite(correlation(gray, gray))
    assert np.isnan(correlation(gray[1:], gray[1:]))
    flat = 128 + (gray - gray.mean()) * 0.9 * LEAST_CONTRAST / gray.std()
    assert np.isnan(correlation(gray, flat)) and np.isnan(correlation(flat, gray))


def test_gray_levels_are_means_over_a_share_of_the_width() -> None:
    colors = np.zeros((40, 4 * SMOOTHING, 3), np.uint8)
    colors[20, 50] = 250
    found = smooth_gray(colors)
    assert found.shape == colors.shape[:2] and found.dtype == np.float32
    assert np.argwhere(found > 0).min(axis=0).tolist() == [18, 48]
    assert np.argwhere(found > 0).max(axis=0).tolist() == [22, 52]
    assert found[20, 50] == pytest.approx(250 / 25)
