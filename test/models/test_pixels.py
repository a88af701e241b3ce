from __future__ import annotations

import pytest
import torch
from tiny_models import TINY_TRUNK

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, FrameError
from spann3r_ros.models.pixels import check_pixels, target_size


def test_no_size_means_that_of_the_weights() -> None:
    assert target_size(Config(), TINY_TRUNK) == (48, 64)
    assert target_size(Config(image_height=96, image_width=32), TINY_TRUNK) == (96, 32)


@pytest.mark.parametrize(("height", "width"), [(48, 0), (0, 64), (40, 64), (48, 8)])
def test_half_a_size_or_half_a_patch_is_refused(height: int, width: int) -> None:
    with pytest.raises(ConfigError, match=f"got {width} x {height}; expected both multiples of the patch, 16 px"):
        target_size(Config(image_height=height, image_width=width), TINY_TRUNK)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([0.0], "got list"),
        (torch.zeros(1, 3, 48, 64, dtype=torch.int32), "got torch.int32"),
        (torch.zeros(3, 48, 64), r"got \(3, 48, 64\); expected \(B, 3, H, W\)"),
        (torch.zeros(1, 1, 48, 64), r"expected \(B, 3, H, W\)"),
        (torch.zeros(1, 3, 48, 8), r"got \(48, 8\); expected multiples of 16"),
        (torch.full((1, 3, 16, 16), torch.inf), "768 NaN or infinite values"),
    ],
)
def test_what_is_no_image_is_refused(pixels: object, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        check_pixels(pixels, TINY_TRUNK)  # type: ignore[arg-type]
