from __future__ import annotations

import cv2
import numpy as np
import pytest

from spann3r_ros.geometry.sharpness import Sharpness


def picture(width: int = 640, height: int = 480) -> np.ndarray:
    """Noise in blocks of a 40th of the width: it has contrast and detail at every resolution."""
    blocks = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)


def test_the_look_hardly_depends_on_the_size_of_the_image() -> None:
    found = [Sharpness.of(picture(width, width * 3 // 4)) for width in (320, 640, 1280, 3840)]
    for sharpness in found[1:]:
        assert sharpness.contrast == pytest.approx(found[0].contrast, rel=0.1)
        assert sharpness.detail == pytest.approx(found[0].detail, rel=0.1)


def test_what_shows_nothing_has_no_contrast_or_no_detail() -> None:
    image = picture()
    good = Sharpness.of(image)
    assert good.contrast > 100 and good.detail > 10
    assert Sharpness.of(np.full_like(image, (0, 0, 255))) == Sharpness(0.0, 0.0, 0.0)
    assert Sharpness.of((image * 0.05).astype(np.uint8)).contrast < 12
    noise = np.random.default_rng(1).normal(0, 6, image.shape)
    assert Sharpness.of(np.clip(noise, 0, 255).astype(np.uint8)).contrast < 12, (
        "the noise of a dark sensor is no picture"
    )
    blurred = Sharpness.of(cv2.GaussianBlur(image, (0, 0), 30))
    assert blurred.detail < 0.8 < 12 < blurred.contrast


def test_a_blinded_sensor_is_white() -> None:
    image = picture()
    assert Sharpness.of(image).white < 0.01
    image[:, :320] = 255
    assert Sharpness.of(image).white == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (2000, 2)])
def test_images_of_any_size_have_a_look(size: tuple[int, int]) -> None:
    assert Sharpness.of(np.zeros((size[1], size[0], 3), np.uint8)) == Sharpness(0.0, 0.0, 0.0)
