"""Preprocessing: equal to the published code on recorded vectors, sane for every other size and calibration."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny_models import GOLDEN

from spann3r_ros.errors import ConfigError, FrameError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.dust3r.crop import central_square, long_edge, published_plan
from spann3r_ros.models.preprocess import cover, looked_up, planned, preprocess

RECORD = json.loads((GOLDEN / "preprocess_golden.json").read_text())
PIXELS = load_file(GOLDEN / "preprocess_pixels.safetensors")


def invented(width, height):
    """The calibration that the published demo makes up."""
    return Intrinsics(1.0, 1.0, width // 2, height // 2, width, height)


def make_frame(image, intrinsics=None):
    return Frame(0, 0, "camera", image, intrinsics)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bounds(box):
    return [box.left, box.top, box.right, box.bottom]


@pytest.mark.parametrize("row", RECORD["demo_224"], ids=lambda row: f"{row['W']}x{row['H']}")
def test_spann3r_sizes_and_intrinsics_are_the_published_ones(row):
    width, height = row["W"], row["H"]
    plan = cover(width, height, (224, 224), None)
    assert bounds(plan.crop) == row["crop0"]
    assert list(plan.size) == row["resize"]
    assert bounds(plan.window) == row["crop1"]
    matrix = plan.intrinsics(invented(width, height)).matrix()
    np.testing.assert_allclose(matrix, row["K"], atol=2e-4)  # recorded in float32, of numbers up to a few thousand


@pytest.mark.parametrize("row", RECORD["load_images"], ids=lambda row: f"{row['W']}x{row['H']}")
def test_dust3r_sizes_are_the_published_ones(row):
    for key, edge, square_ok in (("224", 224, False), ("512", 512, False), ("512_square_ok", 512, True)):
        window = published_plan(row["W"], row["H"], edge, square_ok).window
        assert [window.width, window.height] == row[key]


def test_there_are_thirty_recorded_sizes():
    assert len(RECORD["demo_224"]) == len(RECORD["load_images"]) == 30


@pytest.mark.parametrize("name", "abc")
@pytest.mark.parametrize(
    ("target", "key", "tensor"),
    [
        ((224, 224), "demo", "spann3r_demo_224_u8_s8"),
        (central_square, "load_images_224", "load_images_224_u8_s8"),
        (long_edge, "load_images_512", "load_images_512_u8_s8"),
    ],
)
def test_pixels_are_the_published_ones_bit_for_bit(name, target, key, tensor):
    made = preprocess(make_frame(PIXELS[f"{name}.input_u8"]), target)
    np.testing.assert_array_equal(made.colors[::8, ::8], PIXELS[f"{name}.{tensor}"])
    assert hashlib.sha256(made.colors.tobytes()).hexdigest() == RECORD["pixels"][name][key]["sha256"]


def test_pixels_are_normalized_as_published():
    image = noise(32, 48)
    image.reshape(-1)[:256] = np.arange(256)
    made = preprocess(make_frame(image), (32, 48))
    assert made.pixels.shape == (1, 3, 32, 48) and made.pixels.dtype == torch.float32 and made.pixels.is_contiguous()
    expected = torch.from_numpy(image).permute(2, 0, 1)[None].to(torch.float32).div(255).sub(0.5).div(0.5)
    assert torch.equal(made.pixels, expected)
    assert made.pixels.min() == -1 and made.pixels.max() == 1


@pytest.mark.parametrize("camera", [None, Intrinsics(50.0, 60.0, 20.3, 40.1, 80, 48)])
def test_an_image_of_the_right_size_is_untouched(camera):
    image = noise(48, 80)
    made = preprocess(make_frame(image, camera), (48, 80))
    np.testing.assert_array_equal(made.colors, image)
    assert made.intrinsics == camera


@pytest.mark.parametrize("target", [(224, 224), (384, 512), (512, 384), (48, 80), (16, 160), (160, 16)])
@pytest.mark.parametrize("size", [(480, 640), (640, 480), (100, 133), (16, 16), (30, 100)])
def test_any_size_becomes_the_target(target, size):
    made = preprocess(make_frame(noise(*size)), target)
    assert made.colors.shape == (*target, 3) and made.pixels.shape == (1, 3, *target)
    assert made.intrinsics is None


def checkerboard_corner(height, width, x, y):
    """An image that is bright only in the quadrant right of and below the corner at pixel coordinates (x, y)."""
    columns, rows = np.meshgrid(np.arange(width) - x, np.arange(height) - y)
    inside = np.clip(columns + 0.5, 0, 1) * np.clip(rows + 0.5, 0, 1)
    return np.repeat((255 * inside)[..., None].round().astype(np.uint8), 3, axis=2)


@pytest.mark.parametrize("target", [(224, 224), (192, 256), (256, 192), central_square, long_edge])
@pytest.mark.parametrize(("cx", "cy"), [(320.0, 240.0), (290.4, 260.7), (350.25, 200.0)])
def test_the_principal_point_stays_on_the_same_thing(target, cx, cy):
    # The image's only corner is at the principal point; after all crops and resizes it must still be there.
    image = checkerboard_corner(480, 640, cx, cy)
    made = preprocess(make_frame(image, Intrinsics(500.0, 510.0, cx, cy, 640, 480)), target)
    camera = made.intrinsics
    assert camera is not None
    assert (camera.height, camera.width) == made.colors.shape[:2]
    gray = made.colors[..., 0].astype(float) / 255
    # The edge lies where the row (column) profile well inside the bright quadrant crosses one half.
    row, column = gray[-10], gray[:, -10]
    for profile, expected in ((row, camera.cx), (column, camera.cy)):
        first = int(np.argmax(profile > 0.5))
        edge = first - (profile[first] - 0.5) / (profile[first] - profile[first - 1])
        assert edge == pytest.approx(expected, abs=0.6)  # the published rule keeps half a pixel of rounding
    assert camera.fx / camera.fy == pytest.approx(500 / 510, rel=5e-3)


def test_the_focal_length_scales_with_the_image():
    frame = make_frame(noise(480, 640), Intrinsics(500.0, 500.0, 320.0, 240.0, 640, 480))
    assert preprocess(frame, (224, 224)).intrinsics.fx == pytest.approx(500 * 224 / 480)
    assert preprocess(frame, (480, 640)).intrinsics.fx == 500
    assert preprocess(frame, long_edge).intrinsics.fx == pytest.approx(400)


def test_an_extreme_principal_point_is_survived():
    frame = make_frame(noise(480, 640), Intrinsics(500.0, 500.0, 120.0, 240.0, 640, 480))
    made = preprocess(frame, (224, 224))
    np.testing.assert_array_equal(made.colors, preprocess(make_frame(frame.image), (224, 224)).colors)
    assert made.intrinsics.cx == pytest.approx((120.5 - 80) * 224 / 480 - 0.5, abs=0.5)


def test_a_principal_point_outside_the_image_is_survived_by_a_size():
    frame = make_frame(noise(48, 64), Intrinsics(50.0, 50.0, -10.0, 100.0, 64, 48))
    assert preprocess(frame, (32, 32)).colors.shape == (32, 32, 3)


def test_strided_images_are_taken():
    image = noise(60, 90)
    flipped = image[:, ::-1, ::-1]
    made = preprocess(make_frame(flipped), (48, 64))
    np.testing.assert_array_equal(made.colors, preprocess(make_frame(flipped.copy()), (48, 64)).colors)


@pytest.mark.parametrize("target", [(0, 224), (-16, 16)])
def test_a_size_without_pixels_is_refused(target):
    with pytest.raises(ConfigError, match=r"image size.*>= 1 px"):
        preprocess(make_frame(noise(32, 32)), target)


def test_a_line_of_pixels_is_not_blown_up():
    with pytest.raises(FrameError, match=r"80000 x 16 for a network at 512 x 384.*image_width"):
        preprocess(make_frame(noise(16, 80000)), (384, 512))


def test_images_too_narrow_for_a_plan_are_refused():
    with pytest.raises(FrameError, match=r"too narrow.*4000 x 16"):
        preprocess(make_frame(noise(16, 4000)), long_edge)


@pytest.mark.fault("encodings", case="07")
@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
def test_an_image_smaller_than_a_patch_is_refused(size):
    with pytest.raises(FrameError, match=f"smaller than a patch.*got {size[1]} x {size[0]}"):
        preprocess(make_frame(noise(*size)), (224, 224))


def test_depth_follows_the_image_and_takes_the_nearest_value():
    frame = make_frame(noise(60, 100))
    plan = planned(frame, (40, 40))
    depth = np.where(np.arange(100) < 50, 1.0, 5.0).astype(np.float32) * np.ones((60, 1), np.float32)
    found = plan.apply_depth(depth)
    assert found.shape == (40, 40) and found.dtype == np.float32 and set(np.unique(found)) == {1.0, 5.0}
    gray = np.where(depth[..., None] > 3, 255, 0).astype(np.uint8).repeat(3, axis=2)
    there = plan.apply(gray)[..., 0] > 127
    assert (there == (found > 3)).mean() > 0.97


@pytest.mark.parametrize("target", [(48, 64), lambda w, h, _: cover(w, h, (32, 32), None)])
def test_the_plan_is_that_of_the_image(target) -> None:
    frame = Frame(0, 0, "camera", np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8))
    window, image = planned(frame, target).window, preprocess(frame, target)
    assert (window.height, window.width) == image.colors.shape[:2]
    assert torch.equal(looked_up(image.colors), image.pixels)
