from __future__ import annotations

import numpy as np
import pytest
from cameras import camera_info

from spann3r_ros.errors import FrameError
from spann3r_ros.geometry.camera import resize
from spann3r_ros.geometry.camera_info import calibration
from spann3r_ros.geometry.lens import Lens

RNG = np.random.default_rng(0)


def picture(width: int, height: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_image_of_its_size_passes_with_its_intrinsics() -> None:
    lens = Lens(camera_info(), rectified=False)
    image = picture(128, 96)
    same, intrinsics = lens.apply(image)
    assert same is image and intrinsics == lens.intrinsics and lens.scaling == ""


@pytest.mark.fault("calibration", case="08")
@pytest.mark.parametrize(("width", "height"), [(64, 48), (32, 24), (16, 12), (256, 192)])
def test_a_calibration_of_a_clean_multiple_is_scaled(width: int, height: int) -> None:
    lens = Lens(camera_info(), rectified=False)
    assert lens.intrinsics is not None
    _, intrinsics = lens.apply(picture(width, height))
    assert intrinsics == resize(lens.intrinsics, width, height)
    assert lens.scaling == f"128 x 96 for images of {width} x {height}"
    assert lens.apply(picture(128, 96))[1] == lens.intrinsics and lens.scaling == ""


@pytest.mark.fault("calibration", case="08")
def test_a_distorted_image_of_half_the_size_is_rectified_at_that_size() -> None:
    info = camera_info(d=[-0.3, 0.09, 0.0002, -0.0001, -0.01])
    image = picture(64, 48)
    rectified, intrinsics = Lens(info, rectified=False).apply(image)
    expected, maps = calibration(info, False, (64, 48))
    assert maps is not None and intrinsics == expected
    np.testing.assert_array_equal(rectified, maps.apply(image))
    assert not np.array_equal(rectified, image)


@pytest.mark.fault("calibration", case="08")
@pytest.mark.parametrize(("width", "height"), [(64, 96), (96, 72), (128, 72), (120, 90), (13, 9)])
def test_an_image_of_another_size_is_refused_with_both_sizes_each_time(width: int, height: int) -> None:
    lens = Lens(camera_info(), rectified=False)
    for _ in range(3):
        with pytest.raises(FrameError, match=f"128 x 96 for images of {width} x {height}"):
            lens.apply(picture(width, height))
    assert lens.apply(picture(128, 96))[1] == lens.intrinsics, "the next one that fits is taken"


def test_an_uncalibrated_camera_passes_images() -> None:
    image = picture(7, 5)
    assert Lens(camera_info(k=[0.0] * 9), rectified=False).apply(image) == (image, None)
