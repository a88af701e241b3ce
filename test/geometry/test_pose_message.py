from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.pose_message import pose_from_message


def test_position_and_orientation() -> None:
    turn = Rotation.from_euler("xyz", [20, -40, 130], degrees=True)
    x, y, z, w = turn.as_quat()
    pose = pose_from_message(SimpleNamespace(x=1.0, y=-2.0, z=3.5), SimpleNamespace(x=x, y=y, z=z, w=w))
    assert pose.scale == 1.0
    np.testing.assert_allclose(pose.rotation, turn.as_matrix(), atol=1e-12)
    np.testing.assert_array_equal(pose.translation, [1.0, -2.0, 3.5])


@pytest.mark.parametrize(
    ("position", "orientation"),
    [((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)), ((float("nan"), 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))],
)
def test_what_is_no_pose_is_refused(position: tuple[float, ...], orientation: tuple[float, ...]) -> None:
    with pytest.raises(GeometryError):
        pose_from_message(
            SimpleNamespace(**dict(zip("xyz", position, strict=True))),
            SimpleNamespace(**dict(zip("xyzw", orientation, strict=True))),
        )
