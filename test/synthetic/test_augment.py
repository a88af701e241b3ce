"""Colors change as stated; nothing else does."""

from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.errors import FrameError
from spann3r_ros.synthetic.augment import Augmentation

NOTHING = Augmentation(exposure=0, flicker=0, tint=0, contrast=0, blur=0, blurred=0, noise=0)


def clip() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 180, (4, 24, 32, 3), np.uint8)


def test_nothing_asked_nothing_done() -> None:
    np.testing.assert_array_equal(NOTHING(clip(), np.random.default_rng(1)), clip())


def test_exposure_is_of_the_clip_and_flicker_of_the_frame() -> None:
    gray = np.full((4, 24, 32, 3), 100, np.uint8)
    exposed = Augmentation(exposure=0.5, flicker=0, tint=0, contrast=0, blurred=0, noise=0)(
        gray, np.random.default_rng(2)
    )
    assert len(np.unique(exposed)) == 1
    assert exposed[0, 0, 0, 0] != 100
    flickering = Augmentation(exposure=0, flicker=0.3, tint=0, contrast=0, blurred=0, noise=0)(
        gray, np.random.default_rng(2)
    )
    assert len({int(frame[0, 0, 0]) for frame in flickering}) == 4
    tinted = Augmentation(exposure=0, flicker=0, tint=0.3, contrast=0, blurred=0, noise=0)(
        gray, np.random.default_rng(2)
    )
    assert len(set(tinted[0, 0, 0].tolist())) == 3


def test_motion_blur_smooths_and_keeps_the_mean() -> None:
    blurred = Augmentation(exposure=0, flicker=0, tint=0, contrast=0, blur=20, blurred=1, noise=0)(
        clip(), np.random.default_rng(3)
    )
    for before, after in zip(clip(), blurred, strict=True):
        assert after.std() < before.std()
        assert abs(after.mean() - before.mean()) < 2
    assert min(after.std() for after in blurred) < 0.75 * clip().std()


def test_noise_has_the_stated_size() -> None:
    gray = np.full((1, 100, 100, 3), 128, np.uint8)
    deviations = [
        Augmentation(0, 0, 0, 0, 0, 0, noise=8)(gray, np.random.default_rng(seed)).std() for seed in range(60)
    ]
    assert min(deviations) < 1.5
    assert 5 < max(deviations) < 8.2


def test_the_same_generator_gives_the_same_clip() -> None:
    augment = Augmentation()
    first = augment(clip(), np.random.default_rng(5))
    np.testing.assert_array_equal(first, augment(clip(), np.random.default_rng(5)))
    assert (first != augment(clip(), np.random.default_rng(6))).any()


def test_anything_but_a_clip_is_refused() -> None:
    with pytest.raises(FrameError, match=r"\(N, H, W, 3\) uint8"):
        Augmentation()(clip()[0], np.random.default_rng(0))
