"""A ``sensor_msgs/CameraInfo`` without ROS."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

K = [110.0, 0.0, 63.5, 0.0, 112.0, 47.5, 0.0, 0.0, 1.0]


def camera_info(**changes: Any) -> SimpleNamespace:
    """Of a camera of 128 x 96 pixels without distortion; fields of its region of interest begin with ``roi_``."""
    roi = {name.removeprefix("roi_"): changes.pop(name) for name in list(changes) if name.startswith("roi_")}
    fields = {
        **{"width": 128, "height": 96, "distortion_model": "plumb_bob", "d": [0.0] * 5, "k": K},
        **{"r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], "p": [0.0] * 12, "binning_x": 0, "binning_y": 0},
        "roi": SimpleNamespace(**{"x_offset": 0, "y_offset": 0, "width": 0, "height": 0, **roi}),
    }
    return SimpleNamespace(**{**fields, **changes})
