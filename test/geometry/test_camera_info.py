from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from cameras import K, camera_info
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera_info import calibration, camera_info_topic, intrinsics_from_info, is_rectified


@pytest.mark.parametrize(
    ("topic", "info"),
    [
        ("/front/image_raw", "/front/camera_info"),
        ("/front/image_raw/compressed", "/front/camera_info"),
        ("/front/left/image_rect_color", "/front/left/camera_info"),
        ("image_raw", "camera_info"),
        ("/image", "/camera_info"),
    ],
)
def test_the_calibration_is_beside_the_images(topic: str, info: str) -> None:
    assert camera_info_topic(topic) == info


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/camera/image_rect", True),
        ("/camera/image_rect_color/compressed", True),
        ("/camera/image_raw", False),
        ("/rectangle/image", False),
    ],
)
def test_the_name_tells_whether_images_are_rectified(topic: str, rectified: bool) -> None:
    assert is_rectified(topic) == rectified


P = [100.0, 0.0, 60.0, -12.0, 0.0, 100.0, 45.0, 0.0, 0.0, 0.0, 1.0, 0.0]
TURN = Rotation.from_euler("y", 5, degrees=True).as_matrix()


def k_with(index: int, value: float) -> list[float]:
    return [value if place == index else number for place, number in enumerate(K)]


def test_rectified_images_have_p_and_raw_ones_k() -> None:
    info = camera_info(p=P)
    assert intrinsics_from_info(info, rectified=True) == Intrinsics(100.0, 100.0, 60.0, 45.0, 128, 96)
    assert intrinsics_from_info(info, rectified=False) == Intrinsics(110.0, 112.0, 63.5, 47.5, 128, 96)


@pytest.mark.fault("calibration", case="08")
def test_rectified_images_without_p_have_k_when_there_is_no_distortion() -> None:
    assert intrinsics_from_info(camera_info(), rectified=True) == Intrinsics(110.0, 112.0, 63.5, 47.5, 128, 96)
    with pytest.raises(FrameError, match=r"P of camera_info.*zeros.*image_topics"):
        intrinsics_from_info(camera_info(d=[-0.3, 0.1, 0.0, 0.0, 0.0]), rectified=True)


def test_binning_and_region_of_interest_are_applied() -> None:
    info = camera_info(roi_x_offset=20, roi_y_offset=10, roi_width=64, roi_height=48, binning_x=2, binning_y=2)
    assert intrinsics_from_info(info, rectified=False) == Intrinsics(55.0, 56.0, 21.5, 18.5, 32, 24)


@pytest.mark.parametrize("changes", [{"k": [0.0] * 9}, {"k": [*[0.0] * 8, 1.0]}, {"k": [0.0] * 9, "width": 0}])
def test_zeros_mean_uncalibrated(changes: dict[str, Any]) -> None:
    assert calibration(camera_info(**changes), rectified=False) == (None, None)


@pytest.mark.fault("calibration", case="08")
@pytest.mark.parametrize(
    ("changes", "value"),
    [
        *(({"k": k_with(0, value)}, str(value)) for value in (-110.0, 1e-3, 1e9, math.inf, math.nan, 0.0)),
        *(({"k": k_with(4, value)}, str(value)) for value in (0.0, 5.0, 4000.0)),
        *(({"k": k_with(2, value)}, str(value)) for value in (-500.0, 1e5, math.nan)),
        *(({"k": k_with(5, value)}, str(value)) for value in (-500.0, 1e5)),
        *(({"k": k_with(place, 7.25)}, "7.25") for place in (1, 3, 6, 7, 8)),
        ({"width": 0}, "(0, 96)"),
        ({"height": 0}, "(128, 0)"),
        ({"roi_width": 64, "roi_height": 48, "roi_x_offset": 90}, "(90, 0, 64, 48)"),
        ({"binning_x": 500}, "(0, 96)"),
        ({"r": [2.0, *[0.0] * 3, 1.0, *[0.0] * 3, 1.0], "p": P}, "[2.0"),
        ({"r": [math.nan] * 9, "p": P}, "nan"),
        ({"r": TURN.ravel(), "p": [0.0] * 12}, "zeros"),
        ({"r": TURN.ravel(), "p": [1e9, *P[1:]]}, "1000000000.0"),
    ],
)
def test_absurd_values_are_refused_with_the_value(changes: dict[str, Any], value: str) -> None:
    with pytest.raises(FrameError) as refusal:
        calibration(camera_info(**changes), rectified=False)
    assert value in str(refusal.value)


@pytest.mark.fault("calibration")
@pytest.mark.parametrize("d", [[0.0] * 5, [-0.2, 0.05, 0.001, 0.0, 0.0]])
def test_r_and_p_of_a_stereo_pair_are_applied_as_opencv_does(d: list[float]) -> None:
    intrinsics, maps = calibration(camera_info(r=TURN.ravel(), p=P, d=d), rectified=False)
    assert maps is not None and intrinsics == Intrinsics(100.0, 100.0, 60.0, 45.0, 128, 96)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    new = np.array(P).reshape(3, 4)[:, :3]
    expected = cv2.initUndistortRectifyMap(np.reshape(K, (3, 3)), np.array(d), TURN, new, (128, 96), cv2.CV_16SC2)
    np.testing.assert_allclose(maps.apply(image), cv2.remap(image, *expected, cv2.INTER_LINEAR), atol=8)
    half, _ = calibration(camera_info(r=TURN.ravel(), p=P, d=d), rectified=False, size=(64, 48))
    assert half == Intrinsics(50.0, 50.0, 29.75, 22.25, 64, 48)


def test_a_camera_that_is_not_turned_keeps_its_largest_view() -> None:
    d = [-0.2, 0.05, 0.001, 0.0, 0.0]
    intrinsics, maps = calibration(camera_info(p=P, d=d), rectified=False)
    alone, _ = calibration(camera_info(d=d), rectified=False)
    assert maps is not None and intrinsics == alone
