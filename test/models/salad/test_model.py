from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import random_frames

from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Frame
from spann3r_ros.models.salad.architecture import TINY
from spann3r_ros.models.salad.model import BATCH, Salad, normalized
from spann3r_ros.models.salad.network import SaladNetwork


def model(seed: int = 0) -> Salad:
    torch.manual_seed(seed)
    return Salad(SaladNetwork(TINY).eval().requires_grad_(False), "random")


def test_images_of_any_size_have_one_descriptor_each_whatever_the_batch() -> None:
    frames = [*random_frames(BATCH + 1), *random_frames(1, size=(200, 40))]
    found = model().describe(frames)
    assert found.shape == (BATCH + 2, TINY.descriptor_width) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(model().describe(frames[BATCH:]), found[BATCH:], atol=1e-5)
    assert model().describe([]).shape == (0, TINY.descriptor_width)


def test_the_same_image_has_the_same_descriptor() -> None:
    one, two = random_frames(1, seed=1) + random_frames(1, seed=2)
    found = model().describe([one, two, one])
    assert found[0] @ found[2] == pytest.approx(1, abs=1e-5) and found[0] @ found[1] < found[0] @ found[2]


def test_colors_are_normalized_as_imagenets() -> None:
    gray = normalized(torch.full((4, 5, 3), 128, dtype=torch.uint8))
    assert gray.shape == (3, 4, 5)
    for color, (mean, deviation) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        assert float(gray[color, 0, 0]) == pytest.approx((128 / 255 - mean) / deviation, rel=1e-5)


def test_an_image_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(FrameError, match="smaller than a patch"):
        model().describe([Frame(0, 0, "camera", np.zeros((8, 80, 3), np.uint8))])


def test_the_fingerprint_tells_weights_apart() -> None:
    assert model().fingerprint == model().fingerprint != model(1).fingerprint
