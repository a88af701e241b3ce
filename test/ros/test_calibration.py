from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo

from spann3r_ros.complaints import Complaints
from spann3r_ros.ros.calibration import Calibration

IMAGE = np.zeros((48, 64, 3), np.uint8)


def info(width: int = 64, height: int = 48, fx: float = 50.0, model: str = "plumb_bob") -> CameraInfo:
    return CameraInfo(
        width=width,
        height=height,
        distortion_model=model,
        d=[0.1, 0.0, 0.0, 0.0, 0.0] if model != "plumb_bob" else [0.0] * 5,
        k=[fx, 0.0, 31.5, 0.0, abs(fx), 23.5, 0.0, 0.0, 1.0],
    )


@pytest.fixture
def complaints() -> Complaints:
    return Complaints(lambda _severity, _text: None)


def test_an_unusable_calibration_is_a_complaint_until_a_good_one_comes(complaints: Complaints) -> None:
    calibration = Calibration("/camera/image_raw", complaints)
    calibration.update(info(fx=-50.0))
    [complaint] = complaints.current()
    assert complaint.text.startswith("camera_info of '/camera/image_raw' is not used: ") and "-50" in complaint.text
    assert calibration.apply(IMAGE)[1] is None
    calibration.update(info())
    assert complaints.current() == []
    intrinsics = calibration.apply(IMAGE)[1]
    assert intrinsics is not None and intrinsics.fx == 50.0


def test_a_calibration_of_another_size_is_a_complaint_until_it_fits(complaints: Complaints) -> None:
    calibration = Calibration("/camera/image_raw", complaints)
    calibration.update(info(width=640, height=480))
    assert calibration.apply(IMAGE)[1] is None
    [complaint] = complaints.current()
    assert "640 x 480 for images of 64 x 48" in complaint.text
    calibration.update(info())
    assert calibration.apply(IMAGE)[1] is not None and complaints.current() == []
