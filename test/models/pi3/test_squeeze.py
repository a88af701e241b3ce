from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tiny_models import random_frames

from spann3r_ros.frame import Intrinsics
from spann3r_ros.models.pi3.squeeze import squeezed, whole_image
from spann3r_ros.models.preprocess import LANCZOS, fitted


def test_nothing_is_cut_off_and_the_calibration_follows_both_sides() -> None:
    frame = random_frames(1, size=(83, 61))[0]
    plan = squeezed(83, 61, (70, 42))
    expected = np.asarray(Image.fromarray(frame.image).resize((70, 42), LANCZOS))
    np.testing.assert_array_equal(plan.apply(frame.image), expected)
    camera = plan.intrinsics(Intrinsics(90.0, 91.0, 41.0, 30.0, 83, 61))
    assert (camera.width, camera.height) == (70, 42)
    assert camera.fx == pytest.approx(90 * 70 / 83) and camera.fy == pytest.approx(91 * 42 / 61)
    assert camera.cx == pytest.approx(41.5 * 70 / 83 - 0.5) and camera.cy == pytest.approx(30.5 * 42 / 61 - 0.5)


def test_a_small_image_is_enlarged_to_the_limit() -> None:
    frame = random_frames(1, size=(40, 30))[0]
    assert fitted(frame, whole_image(3000, 14)).colors.shape == (42, 70, 3)
