import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import DataError
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.recordings import bag_sequence
from spann3r_ros.recordings.bag_reader import BagReader
from spann3r_ros.recordings.bag_truth import read_truth
from spann3r_ros.recordings.layouts import open_sequence
from spann3r_ros.sim3 import Sim3

TOPIC = "/camera/image_raw"
CAMERA = "camera_optical_frame"
START = 1_700_000_000_000_000_000
STEP = 100_000_000

Make = Callable[..., Any]
Picture = Callable[[int], np.ndarray]

BASE_FROM_CAMERA = Sim3.rigid(ROS_FROM_OPTICAL.rotation, np.array([0.2, 0.0, 0.5]))


def base_pose(number: float) -> Sim3:
    """The robot in the map: straight ahead while turning."""
    return Sim3.rigid(Rotation.from_euler("z", 0.1 * number).as_matrix(), np.array([0.5 * number, 1.0, 0.0]))


@pytest.fixture
def images(messages: Make, tiny_picture: Picture) -> Any:
    content = messages()
    content.camera_info("/camera/camera_info", START)
    for number in range(4):
        content.image(TOPIC, START + number * STEP, tiny_picture(number))
    return content


def check_poses(path: Path, expected: list[Sim3], origin: str, **options: str) -> None:
    truth = bag_sequence.load(path, topic=TOPIC, **options).ground_truth()
    assert truth is not None and truth.trajectory is not None
    assert truth.origin == origin
    assert len(truth.trajectory) == len(expected)
    for index, pose in enumerate(expected):
        np.testing.assert_allclose(truth.trajectory.pose(index).matrix(), pose.matrix(), atol=1e-9)


def test_pose_topic_is_the_cameras(tmp_path: Path, images: Any) -> None:
    poses = [base_pose(number) @ BASE_FROM_CAMERA for number in range(4)]
    for number, pose in enumerate(poses):
        images.pose_stamped("/ground_truth/pose", START + number * STEP, pose)
        images.pose_stamped("/estimate/pose", START + number * STEP, Sim3())
    check_poses(images.write(tmp_path / "bag"), poses, "/ground_truth/pose")


def test_odometry_of_the_base_goes_on_to_the_camera(tmp_path: Path, images: Any) -> None:
    images.tf("/tf_static", START, "base_link", CAMERA, BASE_FROM_CAMERA)
    for number in (2, 0, 1, 3):  # any order
        images.odometry("/ground_truth/odometry", START + number * STEP, "base_link", base_pose(number))
    expected = [base_pose(number) @ BASE_FROM_CAMERA for number in range(4)]
    check_poses(images.write(tmp_path / "bag"), expected, "/ground_truth/odometry")


def test_transform_stamped_of_a_tracking_system(tmp_path: Path, images: Any) -> None:
    images.tf("/tf_static", START, "marker", CAMERA, BASE_FROM_CAMERA)
    for number in range(3):
        message = images.transform(START + number * STEP, "world", "marker", base_pose(number))
        images.add("/vicon/marker", START + number * STEP, message)
    check_poses(
        images.write(tmp_path / "bag"), [base_pose(number) @ BASE_FROM_CAMERA for number in range(3)], "/vicon/marker"
    )


def test_tf_is_interpolated_at_the_images(tmp_path: Path, images: Any) -> None:
    images.tf("/tf_static", START, "base_link", CAMERA, BASE_FROM_CAMERA)
    images.tf("/tf_static", START, "map", "odom", Sim3(translation=np.array([0.0, 0.0, 3.0])))
    for number in (-0.5, 0.5, 1.5, 2.5):  # image 3 lies beyond the last transform
        images.tf("/tf", START + int(number * STEP), "odom", "/base_link", base_pose(number))
    up = Sim3(translation=np.array([0.0, 0.0, 3.0]))
    expected = [up @ base_pose(number) @ BASE_FROM_CAMERA for number in range(3)]
    check_poses(images.write(tmp_path / "bag"), expected, f"tf map -> {CAMERA}")


@pytest.mark.fault("recordings", case="14")
@pytest.mark.parametrize(("root", "child"), [("map", CAMERA), ("odom", "base_link"), ("robot1/map", "base_link")])
def test_what_a_mapper_or_odometry_estimated_is_no_truth_unless_it_is_named(
    tmp_path: Path, images: Any, root: str, child: str, caplog: pytest.LogCaptureFixture
) -> None:
    if child != CAMERA:
        images.tf("/tf_static", START, child, CAMERA, BASE_FROM_CAMERA)
    for number in range(4):
        images.pose_stamped("/spann3r/pose", START + number * STEP, base_pose(number))
        images.tf("/tf", START + number * STEP, root, child, base_pose(number))
    path = images.write(tmp_path / "bag")
    assert bag_sequence.load(path).ground_truth() is None
    assert "is an estimate" in caplog.text
    camera_from_child = Sim3() if child == CAMERA else BASE_FROM_CAMERA
    expected = [base_pose(number) @ camera_from_child for number in range(4)]
    check_poses(path, expected, f"tf {root} -> {CAMERA}", pose_topic="/tf")
    check_poses(path, [base_pose(number) for number in range(4)], "/spann3r/pose", pose_topic="/spann3r/pose")


def test_a_camera_that_never_moves_has_no_truth(tmp_path: Path, images: Any) -> None:
    images.tf("/tf_static", START, "base_link", CAMERA, BASE_FROM_CAMERA)
    images.tf("/tf", START, "base_link", "wheel", Sim3())
    path = images.write(tmp_path / "bag")
    assert bag_sequence.load(path).ground_truth() is None
    with pytest.raises(DataError, match=r"/tf holds no pose"):
        bag_sequence.load(path, pose_topic="/tf").ground_truth()


def test_poses_that_are_none_are_left_out(tmp_path: Path, images: Any, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        images.pose_stamped("/ground_truth/pose", START + number * STEP, base_pose(number))
    bad = images.pose(base_pose(3))
    bad.position.x = float("nan")
    header = images.header(START + 3 * STEP, "map")
    message = images.make("geometry_msgs/PoseStamped", header=header, pose=bad)
    images.add("/ground_truth/pose", START + 3 * STEP, message)
    with caplog.at_level(logging.WARNING):
        check_poses(images.write(tmp_path / "bag"), [base_pose(n) for n in range(3)], "/ground_truth/pose")
    assert "1 x pose that is not finite" in caplog.text


def test_depth_is_found_and_read_on_demand(tmp_path: Path, images: Any) -> None:
    depth = np.linspace(1.0, 3.0, 12 * 16).reshape(12, 16).astype(np.float32)
    depth[0, 0] = np.nan
    for number in range(2):
        images.image("/camera/depth/image_raw", START + number * STEP + 5, depth + number, encoding="32FC1")
    truth = bag_sequence.load(images.write(tmp_path / "bag")).ground_truth()
    assert truth is not None and truth.trajectory is None
    found = truth.depth_at(START + STEP, max_gap=10)
    assert found is not None
    np.testing.assert_array_equal(found.depth, depth + 1)
    assert found.intrinsics is not None and found.intrinsics.fx == 20.0  # the images' calibration fits
    assert truth.depth_at(START + STEP, max_gap=4) is None


def test_depth_in_millimeters(tmp_path: Path, images: Any) -> None:
    millimeters = np.full((12, 16), 1500, np.uint16)
    millimeters[1, 1] = 0
    images.image("/depth", START, millimeters, encoding="16UC1")
    truth = bag_sequence.load(images.write(tmp_path / "bag"), depth_topic="/depth").ground_truth()
    assert truth is not None
    depth = truth.read_depth(0).depth
    assert np.isnan(depth[1, 1]) and np.nansum(depth) == pytest.approx(1.5 * (12 * 16 - 1))


def test_depth_of_another_camera_is_ignored(tmp_path: Path, images: Any, caplog: pytest.LogCaptureFixture) -> None:
    depth = np.ones((12, 16), np.float32)
    images.image("/camera/depth/image_raw", START, depth, encoding="32FC1", frame="depth_optical_frame")
    assert bag_sequence.load(images.write(tmp_path / "bag")).ground_truth() is None
    assert "seen from 'depth_optical_frame'" in caplog.text


def test_unknown_topics_are_refused(tmp_path: Path, images: Any) -> None:
    path = images.write(tmp_path / "bag")
    for wrong in ("pose_topic", "depth_topic"):
        with pytest.raises(DataError, match=r"no such topic.*/nothing"):
            bag_sequence.load(path, **{wrong: "/nothing"}).ground_truth()
    with pytest.raises(DataError, match="type of topic"):
        read_truth(BagReader(path), TOPIC, CAMERA, pose_topic="/camera/camera_info")


def test_the_image_topic_is_found_or_asked_for(tmp_path: Path, images: Any, tiny_picture: Picture) -> None:
    images.compressed(TOPIC + "/compressed", START, tiny_picture(0))
    images.image("/camera/depth/image_raw", START, np.ones((12, 16), np.float32), encoding="32FC1")
    sequence = open_sequence(images.write(tmp_path / "bag"))
    assert (sequence.layout, sequence.count(), sequence.name) == ("bag", 4, "bag")
    assert [frame.stamp for frame in sequence.frames(every=3)] == [START, START + 3 * STEP]
    images.image("/rear/image_raw", START, tiny_picture(0))
    with pytest.raises(
        DataError, match=r"2 candidates[\s\S]*/rear/image_raw \[sensor_msgs/msg/Image\] 1[\s\S]*--topic"
    ):
        open_sequence(images.write(tmp_path / "two"))
