from __future__ import annotations

import pytest

from spann3r_ros.geometry.camera_info import camera_info_topic, is_rectified


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
