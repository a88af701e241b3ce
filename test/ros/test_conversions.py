from __future__ import annotations

import importlib

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from robot import read_cloud, to_nanoseconds
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, PointCloud2

from spann3r_ros.frame import Intrinsics
from spann3r_ros.ros import conversions
from spann3r_ros.sim3 import Sim3

STAMP = 1_700_000_000_123_456_789


def colored_points(*shape: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(*shape, 3)).astype(np.float32),
        generator.integers(0, 256, (*shape, 3), dtype=np.uint8),
        generator.random(shape, dtype=np.float32),
    )


def through_the_wire(message: PointCloud2) -> PointCloud2:
    return deserialize_message(serialize_message(message), PointCloud2)


def test_stamps_are_exact_to_the_nanosecond() -> None:
    time = conversions.time_message(STAMP)
    assert (time.sec, time.nanosec) == (1_700_000_000, 123_456_789)
    assert conversions.nanoseconds(time) == STAMP


def test_a_list_of_points_survives_the_wire_bit_for_bit() -> None:
    points, colors, confidence = colored_points(1000)
    message = through_the_wire(conversions.cloud_message(STAMP, "map", points, colors, confidence))
    assert (message.header.frame_id, to_nanoseconds(message.header.stamp)) == ("map", STAMP)
    assert (message.height, message.width, message.point_step, message.is_dense) == (1, 1000, 20, True)
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        (name, 4 * index, PointField_FLOAT32, 1) for index, name in enumerate(("x", "y", "z", "rgb", "confidence"))
    ]
    read = read_cloud(message)
    np.testing.assert_array_equal(np.stack([read["x"], read["y"], read["z"]], -1), points)
    np.testing.assert_array_equal(np.stack([read["r"], read["g"], read["b"]], -1), colors)
    np.testing.assert_array_equal(read["confidence"], confidence)


PointField_FLOAT32 = 7


def test_an_organized_cloud_keeps_its_rows_and_is_not_dense() -> None:
    points, colors, confidence = colored_points(6, 8)
    points[2, 3] = np.nan
    message = through_the_wire(conversions.cloud_message(STAMP, "map", points, colors, confidence))
    assert (message.height, message.width, message.is_dense, len(message.data)) == (6, 8, False, 6 * 8 * 20)
    read = read_cloud(message)
    np.testing.assert_array_equal(read["z"], points[..., 2])
    assert np.isnan(read["x"][2, 3])


def test_an_empty_cloud_is_a_valid_message() -> None:
    message = through_the_wire(conversions.cloud_message(STAMP, "map", *colored_points(0)))
    assert (message.width, message.row_step, len(message.data)) == (0, 0, 0)


@pytest.mark.ros_tool("sensor_msgs_py")
def test_sensor_msgs_py_reads_our_clouds() -> None:
    point_cloud2 = importlib.import_module("sensor_msgs_py.point_cloud2")
    points, colors, confidence = colored_points(50)
    message = conversions.cloud_message(STAMP, "map", points, colors, confidence)
    read = point_cloud2.read_points(message)
    np.testing.assert_array_equal(np.stack([read["x"], read["y"], read["z"]], -1), points)


def test_float_images_keep_their_values_and_their_holes() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    values[1, 2] = np.nan
    message = deserialize_message(serialize_message(conversions.float_image(STAMP, "camera", values.T[::-1].T)), Image)
    assert (message.encoding, message.height, message.width, message.step) == ("32FC1", 3, 4, 16)
    np.testing.assert_array_equal(np.frombuffer(message.data, "<f4").reshape(3, 4), values[:, ::-1])


def test_camera_info_states_the_same_pinhole_in_k_and_p() -> None:
    info = conversions.camera_info_message(STAMP, "camera", Intrinsics(50.0, 51.0, 31.5, 23.5, 64, 48))
    assert list(info.k) == [50.0, 0.0, 31.5, 0.0, 51.0, 23.5, 0.0, 0.0, 1.0]
    assert list(info.p) == [50.0, 0.0, 31.5, 0.0, 0.0, 51.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert (info.width, info.height, info.distortion_model, list(info.d)) == (64, 48, "plumb_bob", [0.0] * 5)


def test_poses_and_transforms_there_and_back() -> None:
    rotation = Rotation.from_euler("xyz", [20, -40, 130], degrees=True)
    pose = Sim3(rotation=rotation.as_matrix(), translation=np.array([1.0, -2.0, 3.5]))
    message = conversions.transform_message(STAMP, "map", "camera", pose)
    assert (message.header.frame_id, message.child_frame_id) == ("map", "camera")
    np.testing.assert_allclose(
        conversions.transform_from_message(message.transform).matrix(), pose.matrix(), atol=1e-12
    )
    stamped = conversions.pose_stamped(STAMP, "map", pose)
    assert to_nanoseconds(stamped.header.stamp) == STAMP
    q = stamped.pose.orientation
    np.testing.assert_allclose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), pose.rotation, atol=1e-12)
    odometry = conversions.odometry_message(STAMP, "map", "base", pose)
    assert (odometry.child_frame_id, odometry.twist.covariance[0]) == ("base", -1.0)
    assert odometry.pose.pose == stamped.pose
    assert odometry.pose.covariance[0] == -1.0, "unknown, not certain"
    covariance = np.arange(36.0).reshape(6, 6)
    known = conversions.odometry_message(STAMP, "map", "base", pose, covariance)
    assert list(known.pose.covariance) == list(range(36))


@pytest.mark.ros_tool("tf_transformations")
def test_tf_transformations_agrees_on_quaternions() -> None:
    tf_transformations = importlib.import_module("tf_transformations")
    pose = Sim3(rotation=Rotation.from_euler("xyz", [20, -40, 130], degrees=True).as_matrix())
    q = conversions.pose_message(pose).orientation
    expected = np.asarray(tf_transformations.quaternion_from_matrix(pose.matrix()))  # a tuple, in its releases
    np.testing.assert_allclose([q.x, q.y, q.z, q.w], expected * np.sign(expected[3]), atol=1e-12)
