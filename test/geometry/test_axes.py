import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL, quaternion_from_rotation, rotation_from_quaternion


def test_forward_right_and_down_arrive_where_rep_103_wants_them():
    right, down, forward = np.eye(3)
    np.testing.assert_array_equal(ROS_FROM_OPTICAL.apply(forward), [1, 0, 0])
    np.testing.assert_array_equal(ROS_FROM_OPTICAL.apply(right), [0, -1, 0])
    np.testing.assert_array_equal(ROS_FROM_OPTICAL.apply(down), [0, 0, -1])


def test_quaternion_order_is_xyzw():
    quarter_turn_about_z = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(quaternion_from_rotation(quarter_turn_about_z), [0, 0, half, half], atol=1e-15)
    np.testing.assert_allclose(rotation_from_quaternion(np.array([0, 0, half, half])), quarter_turn_about_z, atol=1e-15)


def test_known_rotation_of_the_optical_frame():
    # The quaternion that every ROS camera driver publishes for its optical frame.
    np.testing.assert_allclose(quaternion_from_rotation(ROS_FROM_OPTICAL.rotation), [-0.5, 0.5, -0.5, 0.5])


def test_round_trip_of_a_stack_keeps_shape_and_value():
    rotations = Rotation.random(12, random_state=3).as_matrix().reshape(3, 4, 3, 3)
    quaternions = quaternion_from_rotation(rotations)
    assert quaternions.shape == (3, 4, 4)
    assert (quaternions[..., 3] >= 0).all()
    np.testing.assert_allclose(rotation_from_quaternion(quaternions), rotations, atol=1e-14)


def test_rounded_quaternions_are_normalized():
    rotation = rotation_from_quaternion(np.array([0.7071, 0.0, 0.0, 0.7071]))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-15)


@pytest.mark.parametrize("bad", [[0, 0, 0, 0], [1, 1, 1, 1], [np.nan, 0, 0, 1], [0, 0, 1]])
def test_what_is_no_unit_quaternion_is_refused(bad):
    with pytest.raises(GeometryError, match="quaternion"):
        rotation_from_quaternion(np.array(bad, dtype=float))


def test_wrong_matrix_shape_is_refused():
    with pytest.raises(GeometryError, match="shape"):
        quaternion_from_rotation(np.eye(4))
