from __future__ import annotations

import pytest
import torch

from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.models.preprocess import Box
from spann3r_ros.models.vggt.crop import fixed_width, long_side, stacked


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), (518, 392)),
        ((1280, 720), (518, 294)),
        ((752, 480), (518, 336)),
        ((480, 640), (518, 518)),
        ((1024, 300), (518, 154)),
        ((518, 518), (518, 518)),
    ],
)
def test_the_width_is_fixed_and_portraits_lose_top_and_bottom(size: tuple[int, int], expected: tuple[int, int]) -> None:
    plan = fixed_width(518, 14)(*size, None)
    assert (plan.window.width, plan.window.height) == expected
    assert plan.size[0] == 518 and abs(plan.window.top - (plan.size[1] - plan.window.bottom)) <= 1


def test_half_a_patch_is_rounded_to_the_even_number_of_patches() -> None:
    assert [fixed_width(140, 14)(140, height, None).size[1] for height in (49, 63, 77, 91)] == [56, 56, 84, 84]


def test_the_longer_side_is_fixed_and_nothing_is_lost() -> None:
    for width, height, expected in ((640, 480, (518, 392)), (480, 640, (392, 518)), (300, 1024, (154, 518))):
        plan = long_side(518, 14)(width, height, None)
        assert plan.size == expected and plan.window == Box(0, 0, *expected)


def test_the_calibration_follows() -> None:
    camera = Intrinsics(400, 410, 239.5, 319.5, 480, 640)
    found = fixed_width(518, 14)(480, 640, None).intrinsics(camera)
    assert found.fx == pytest.approx(400 * 518 / 480) and found.fy == pytest.approx(410 * 686 / 640)
    assert (found.cx, found.cy) == pytest.approx((258.5, 342.5 - 84)) and (found.width, found.height) == (518, 518)


@pytest.mark.parametrize("plan", [fixed_width, long_side])
def test_an_image_of_which_no_row_would_be_left_is_refused(plan) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FrameError, match=r"too narrow for VGGT: got 2000 x 20, 5\.2 px"):
        plan(518, 14)(2000, 20, None)


def test_a_line_of_pixels_is_not_blown_up() -> None:
    with pytest.raises(FrameError, match="at least 1/64"):
        fixed_width(518, 14)(16, 20_000, None)


def test_images_of_different_sizes_are_centered_in_white() -> None:
    images = [torch.zeros(3, 28, 42), torch.full((3, 14, 56), 0.5)]
    batch, windows = stacked(images)
    assert batch.shape == (2, 3, 28, 56) and windows == [Box(7, 0, 49, 28), Box(0, 7, 56, 21)]
    for image, place, window in zip(images, batch, windows, strict=True):
        assert torch.equal(place[:, window.top : window.bottom, window.left : window.right], image)
        assert place.sum() == image.sum() + (place.numel() - image.numel())
    assert stacked(images[:1], (42, 42))[0].shape == (1, 3, 42, 42)
