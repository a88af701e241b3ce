from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.message_pose import pose_from_message


def test_position_and_quaternion_become_a_rigid_transform() -> None:
    x, y, z, w = Rotation.from_euler("z", 90, degrees=True).as_quat()
    pose = pose_from_message(SimpleNamespace(x=1.0, y=2.0, z=3.0), SimpleNamespace(x=x, y=y, z=z, w=w))
    np.testing.assert_allclose(pose.apply(np.array([[1.0, 0.0, 0.0]])), [[1.0, 3.0, 3.0]], atol=1e-12)
    assert pose.scale == 1.0


@pytest.mark.parametrize("part", ["orientation", "position"])
def test_what_is_no_pose_is_refused(part: str) -> None:
    position, orientation = SimpleNamespace(x=0.0, y=0.0, z=0.0), SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
    if part == "orientation":
        orientation.w = 0.0
    else:
        position.y = float("nan")
    with pytest.raises(GeometryError):
        pose_from_message(position, orientation)
