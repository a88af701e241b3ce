"""Who publishes which transform, and when none is better than a wrong one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from library import OPTICAL, reconstruct, walk
from nav_msgs.msg import Odometry
from node_process import NodeProcess
from numpy.testing import assert_allclose
from rclpy.publisher import Publisher
from rclpy.time import Time
from robot import LATCHED, RELIABLE, Robot, image_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, PointCloud2
from spann3r_ros.msg import ReconstructionStatus
from tf2_msgs.msg import TFMessage

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.transform_tree import TransformTree
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.map import Map
from spann3r_ros.prediction import Prediction
from spann3r_ros.ros.conversions import transform_from_message, transform_message
from spann3r_ros.ros.node import Spann3rNode
from spann3r_ros.sim3 import Sim3

pytestmark = pytest.mark.ros_tool("tf2_ros", stand_in=True)  # the node takes it where it is installed
Start = Callable[..., NodeProcess]

BASE_FROM_CAMERA = Sim3(
    rotation=Rotation.from_euler("xyz", [-90, 0, -90], degrees=True).as_matrix(), translation=np.array([0.2, 0.0, 0.5])
)


def odom_from_base(seconds: float) -> Sim3:
    rotation = Rotation.from_euler("z", 10 * seconds, degrees=True).as_matrix()
    return Sim3(rotation=rotation, translation=np.array([seconds, 0.1, 0.0]))


def ours(messages: list[TFMessage]) -> list[TransformStamped]:
    return [entry for message in messages for entry in message.transforms if entry.header.frame_id == "map"]


@pytest.fixture
def static(robot: Robot) -> Publisher:
    """The camera on its mast."""
    publisher = robot.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    publisher.publish(TFMessage(transforms=[transform_message(0, "base_link", OPTICAL, BASE_FROM_CAMERA)]))
    return publisher


@pytest.mark.fault("ROS tools", case="10")
@pytest.mark.usefixtures("static")
def test_odometry_mode_publishes_map_to_odom_at_the_stamp_of_the_image(
    start: Start, robot: Robot, checkpoint: Path
) -> None:
    frames = walk(5)
    _, expected = reconstruct(checkpoint, frames)
    start(world_frame="/map", odom_frame="/odom", base_frame="/base_link", tf_timeout=5.0)
    transforms = robot.collect(TFMessage, "/tf")
    odometry = robot.collect(Odometry, "/spann3r/odometry")
    wheels = robot.publisher(TFMessage, "/tf", peers=2)
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for index, frame in enumerate(frames):
        camera.publish(image_message(frame, "/" + OPTICAL))  # as tf1 had it
        for offset in (-0.02, 0.03):  # never at the stamp itself: it is interpolated
            seconds = 0.1 * index + offset
            pose = odom_from_base(seconds)
            when = frame.stamp + int(offset * 1e9)
            wheels.publish(TFMessage(transforms=[transform_message(when, "odom", "base_link", pose)]))
    robot.wait(lambda: len(ours(transforms)) == 4 and len(odometry) == 4, "four transforms")
    for index, prediction in enumerate(expected):
        entry = ours(transforms)[index]
        assert entry.child_frame_id == "odom"
        assert entry.header.stamp.sec * 10**9 + entry.header.stamp.nanosec == prediction.frame.stamp
        pose = prediction.world_from_camera
        assert pose is not None
        world_from_base = pose @ BASE_FROM_CAMERA.inverse()
        world_from_odom = world_from_base @ odom_from_base(0.1 * index).inverse()
        assert_allclose(transform_from_message(entry.transform).matrix(), world_from_odom.matrix(), atol=1e-4)
        assert odometry[index].child_frame_id == "base_link"
        position = odometry[index].pose.pose.position
        assert_allclose([position.x, position.y, position.z], world_from_base.translation, atol=1e-6)


@pytest.mark.usefixtures("static")
def test_a_missing_transform_is_named_and_nothing_is_guessed(start: Start, robot: Robot) -> None:
    node = start(odom_frame="odom", base_frame="base_link", tf_timeout=0.05)
    transforms = robot.collect(TFMessage, "/tf")
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in walk(4):
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 3, "clouds all the same")
    assert f"no transform between 'odom' and '{OPTICAL}'" in node.wait_for_log("no transform is broadcast")
    assert not ours(transforms)
    assert node.alive


def test_a_camera_with_a_parent_is_not_given_a_second_one(start: Start, robot: Robot, static: Publisher) -> None:
    node = start()
    transforms = robot.collect(TFMessage, "/tf")
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    robot.wait(lambda: static.get_subscription_count() == 1, "a listener to /tf_static")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in walk(3):
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 2, "clouds all the same")
    line = node.wait_for_log("already hangs on 'base_link'")
    assert "odom_frame and base_frame" in line
    assert not ours(transforms)


@pytest.mark.usefixtures("static")
def test_a_map_without_meters_is_not_joined_to_odometry(start: Start, robot: Robot, relative_checkpoint: Path) -> None:
    node = start(checkpoint=str(relative_checkpoint), odom_frame="odom", base_frame="base_link")
    transforms = robot.collect(TFMessage, "/tf")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in walk(3):
        camera.publish(image_message(frame))
    assert "metric model" in node.wait_for_log("the map's unit is unknown")
    assert not ours(transforms)


def test_broadcasting_can_be_switched_off(start: Start, robot: Robot) -> None:
    start(publish_tf=False)
    transforms = robot.collect(TFMessage, "/tf", RELIABLE)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in walk(4):
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 3, "three clouds")
    assert transforms == []


class KeepsPriors:
    """A corrector that corrects nothing and keeps what frames know of the odometry."""

    name = "keeps priors"

    def __init__(self) -> None:
        self.priors: dict[int, Sim3 | None] = {}

    def observe(self, prediction: Prediction, _world: Map) -> list[Correction]:
        self.priors[prediction.frame.stamp] = prediction.frame.prior
        return []

    def clear(self) -> None: ...

    def saved(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None: ...


def test_frames_carry_the_odometry_that_is_known_at_their_stamp(
    start_inside: Callable[..., Spann3rNode], robot: Robot, static: Publisher
) -> None:
    node = start_inside(odom_frame="odom", base_frame="base_link", status_rate=30.0)
    assert node._session is not None
    keeper = KeepsPriors()
    node._session._reconstruction.correctors.append(keeper)
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    wheels = robot.publisher(TFMessage, "/tf")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.wait(lambda: static.get_subscription_count() == 1, "a listener to /tf_static")
    robot.synchronize()
    frames = walk(3)
    transforms = node._session.transforms
    for index in (0, 1):  # the third image comes before its odometry, and nobody waits for that
        for offset in (-0.02, 0.03):
            when, pose = frames[index].stamp + int(offset * 1e9), odom_from_base(0.1 * index + offset)
            wheels.publish(TFMessage(transforms=[transform_message(when, "odom", "base_link", pose)]))

    def known() -> bool:
        try:
            return bool(transforms.lookup("odom", OPTICAL, frames[1].stamp))
        except GeometryError:
            return False

    robot.wait(known, "the odometry in the node")
    for count, frame in enumerate(frames):
        camera.publish(image_message(frame))
        robot.wait(lambda count=count: statuses and statuses[-1].frames_processed == count + 1, "the image")
    node._session.worker.submit(node._session._reconstruction.flush).result(60.0)
    assert list(keeper.priors) == [frame.stamp for frame in frames]
    for index in (0, 1):
        prior = keeper.priors[frames[index].stamp]
        assert prior is not None
        expected = odom_from_base(0.1 * index) @ BASE_FROM_CAMERA
        assert_allclose(prior.matrix(), expected.matrix(), atol=1e-4)
    assert keeper.priors[frames[2].stamp] is None


@pytest.mark.ros_tool("tf2_ros")
def test_tf2_looks_up_the_same() -> None:
    tf2_ros = importlib.import_module("tf2_ros")
    buffer = tf2_ros.Buffer()
    for seconds in (0.0, 1.0):
        message = transform_message(int(seconds * 1e9), "odom", "base_link", odom_from_base(seconds))
        buffer.set_transform(message, "test")
    tree = TransformTree()
    for seconds in (0.0, 1.0):
        tree.insert(int(seconds * 1e9), "odom", "base_link", odom_from_base(seconds))
    theirs = transform_from_message(buffer.lookup_transform("odom", "base_link", Time(nanoseconds=250000000)).transform)
    assert_allclose(tree.lookup("odom", "base_link", 250000000).matrix(), theirs.matrix(), atol=1e-9)
