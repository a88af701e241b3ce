"""The camera looks the same at every size."""

from __future__ import annotations

import math

import pytest

from spann3r_ros.synthetic.pinhole import synthetic_camera


def test_field_of_view_does_not_depend_on_the_size() -> None:
    for width, height in ((640, 480), (128, 96)):
        camera = synthetic_camera(width, height)
        assert 2 * math.degrees(math.atan(width / 2 / camera.fx)) == pytest.approx(74.6, abs=0.1)
        assert (camera.cx, camera.cy) == ((width - 1) / 2, (height - 1) / 2)
        assert camera.fx == camera.fy
    assert synthetic_camera(640, 480, zoom=2.0).fx == 840.0
