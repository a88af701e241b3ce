"""What is published when the robot's transforms come late, never, or when a new time begins meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import rclpy
from nav_msgs.msg import Odometry
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from robot import Robot, to_nanoseconds
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage

from spann3r_ros.complaints import Complaints
from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.pose_covariance import attached_covariance
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.ros.conversions import transform_from_message, transform_message
from spann3r_ros.ros.transform_lookup import TopicTransforms
from spann3r_ros.ros.world_broadcaster import MOST_WAITING, WorldBroadcaster
from spann3r_ros.sim3 import Sim3

CAMERA_FROM_BASE = Sim3(
    rotation=Rotation.from_euler("xyz", [90, 0, 90], degrees=True).as_matrix(), translation=np.array([0.1, 0.2, -0.3])
)
COVARIANCE = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) * 1e-4


class SlowTransforms:
    """Transforms that are known when the test says so."""

    subscriptions_to_tf = 0

    def __init__(self) -> None:
        self.known: dict[tuple[str, str, int], Sim3] = {}
        self.asked: list[tuple[str, int]] = []  # name of the thread, stamp
        self.was_asked = threading.Event()

    def lookup(self, target: str, source: str, stamp: int) -> Sim3:
        self.asked.append((threading.current_thread().name, stamp))
        self.was_asked.set()
        try:
            return self.known[target, source, stamp]
        except KeyError:
            raise GeometryError(f"no transform between '{target}' and '{source}'") from None

    def parent(self, _frame: str) -> str | None:
        return None

    def clear(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def node(domain: int) -> Iterator[LifecycleNode]:
    """An active lifecycle node that spins."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    made = LifecycleNode("mapper", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(made)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield made
    executor.shutdown()
    thread.join(5.0)
    made.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def transforms() -> SlowTransforms:
    return SlowTransforms()


@pytest.fixture
def complaints() -> Complaints:
    return Complaints(lambda _severity, _text: None)


@pytest.fixture
def make(
    node: LifecycleNode, transforms: SlowTransforms, complaints: Complaints
) -> Iterator[Callable[..., WorldBroadcaster]]:
    made: list[WorldBroadcaster] = []

    def build(**parameters: object) -> WorldBroadcaster:
        config = NodeConfig(odom_frame="odom", base_frame="base_link")
        for name, value in {"tf_timeout": 1e6, **parameters}.items():  # for ever, as far as a test can tell
            setattr(config, name, value)
        made.append(WorldBroadcaster(node, config, transforms, complaints))
        node.trigger_configure()
        node.trigger_activate()
        return made[-1]

    yield build
    for broadcaster in made:
        broadcaster.close()


def pose_at(stamp: int) -> Sim3:
    turn = Rotation.from_euler("xyz", [0.1 * stamp, 0.2, -0.3]).as_matrix()
    return Sim3(rotation=turn, translation=np.array([0.5 * stamp, 1.0, -2.0]))


def seen(stamp: int, covariance: NDArray[np.float64] | None = COVARIANCE) -> WorldPrediction:
    empty = np.zeros((2, 3, 3))
    return WorldPrediction(
        frame=Frame(stamp, stamp, "camera_optical", np.zeros((2, 3, 3), np.uint8)),
        points=empty.astype(np.float32),
        confidence=empty[..., 0].astype(np.float32),
        colors=empty.astype(np.uint8),
        world_from_camera=pose_at(stamp),
        pose_covariance=covariance,
        metric=True,
    )


def odom_from_camera(stamp: int) -> Sim3:
    return Sim3(translation=np.array([0.1 * stamp, 0.0, 1.0]))


def listen(robot: Robot, node: LifecycleNode) -> list[TFMessage]:
    messages = robot.collect(TFMessage, "/tf")
    robot.wait(lambda: node.count_subscribers("/tf") and robot.node.count_publishers("/tf"), "discovery")
    return messages


def stamps(messages: list[TFMessage]) -> list[int]:
    return [to_nanoseconds(message.transforms[0].header.stamp) for message in messages]


def matched(robot: Robot, broadcaster: WorldBroadcaster) -> None:
    robot.wait(lambda: broadcaster._tf.get_subscription_count() > 0, "the match")


def test_late_transforms_hold_up_nobody_and_keep_the_order_of_the_images(
    make: Callable[..., WorldBroadcaster], transforms: SlowTransforms, robot: Robot, node: LifecycleNode
) -> None:
    broadcaster = make()
    messages = listen(robot, node)
    matched(robot, broadcaster)
    for stamp in (1, 2, 3):
        broadcaster.tell(seen(stamp))
    for stamp in (3, 2):  # known before that of the first image
        transforms.known["odom", "camera_optical", stamp] = odom_from_camera(stamp)
    robot.wait(lambda: len(transforms.asked) > 3, "a thread that goes on asking")
    assert messages == []
    transforms.known["odom", "camera_optical", 1] = odom_from_camera(1)
    robot.wait(lambda: len(messages) == 3, "three transforms")
    assert stamps(messages) == [1, 2, 3]
    for stamp, message in zip((1, 2, 3), messages, strict=True):
        [entry] = message.transforms
        assert (entry.header.frame_id, entry.child_frame_id) == ("map", "odom")
        expected = pose_at(stamp) @ odom_from_camera(stamp).inverse()
        assert_allclose(transform_from_message(entry.transform).matrix(), expected.matrix(), atol=1e-9)
    assert {name for name, _ in transforms.asked} == {"transforms"}, "never on the thread that tells"


def test_what_waits_is_bounded_and_the_oldest_is_dropped_with_a_complaint(
    make: Callable[..., WorldBroadcaster],
    transforms: SlowTransforms,
    complaints: Complaints,
    robot: Robot,
    node: LifecycleNode,
) -> None:
    broadcaster = make()
    messages = listen(robot, node)
    matched(robot, broadcaster)
    broadcaster.tell(seen(1))
    assert transforms.was_asked.wait(60.0)  # the first one is in the thread's hands now, the others wait
    last = MOST_WAITING + 4
    for stamp in range(2, last + 1):
        broadcaster.tell(seen(stamp))
    [complaint] = complaints.current()
    assert complaint.text.startswith("3 poses were not published on /tf") and "Lower tf_timeout" in complaint.text
    for stamp in range(1, last + 1):
        transforms.known["odom", "camera_optical", stamp] = odom_from_camera(stamp)
    robot.wait(lambda: len(messages) == MOST_WAITING + 1, "all others")
    assert stamps(messages) == [1, *range(5, last + 1)]


def test_a_new_time_forgets_what_waits(
    make: Callable[..., WorldBroadcaster],
    transforms: SlowTransforms,
    complaints: Complaints,
    robot: Robot,
    node: LifecycleNode,
) -> None:
    broadcaster = make()
    messages = listen(robot, node)
    matched(robot, broadcaster)
    broadcaster.tell(seen(100))
    broadcaster.tell(seen(101))
    assert transforms.was_asked.wait(60.0)
    broadcaster.clear()
    for stamp in (100, 101, 7):
        transforms.known["odom", "camera_optical", stamp] = odom_from_camera(stamp)
    broadcaster.tell(seen(7))  # earlier than what was told before: another time
    robot.wait(lambda: messages, "the new time")
    broadcaster.tell(seen(101))
    robot.wait(lambda: len(messages) == 2, "its next pose")
    assert stamps(messages) == [7, 101], "101 is the one that was told last"
    assert complaints.current() == [], "what was given up is nobody's fault"


def test_closing_does_not_wait_for_a_transform_that_never_comes(
    make: Callable[..., WorldBroadcaster], transforms: SlowTransforms, robot: Robot, node: LifecycleNode
) -> None:
    broadcaster = make()
    listen(robot, node)
    matched(robot, broadcaster)
    broadcaster.tell(seen(1))
    assert transforms.was_asked.wait(60.0)
    broadcaster.close()  # it would wait for eleven days
    assert not broadcaster._thread.is_alive()


def test_a_transform_that_does_not_come_in_time_is_a_complaint_until_one_does(
    make: Callable[..., WorldBroadcaster],
    transforms: SlowTransforms,
    complaints: Complaints,
    robot: Robot,
    node: LifecycleNode,
) -> None:
    broadcaster = make(tf_timeout=0.0)
    config = broadcaster._config
    messages = listen(robot, node)
    matched(robot, broadcaster)
    broadcaster.tell(seen(1))
    robot.wait(complaints.worst, "a complaint")
    [complaint] = complaints.current()
    assert complaint.text == "no transform is broadcast: no transform between 'odom' and 'camera_optical'"
    transforms.known["odom", "camera_optical", 2] = odom_from_camera(2)
    broadcaster.tell(seen(2))
    robot.wait(lambda: messages, "the transform")
    robot.wait(lambda: not complaints.current(), "no complaint")
    broadcaster.tell(seen(3))
    robot.wait(complaints.worst, "a complaint again")
    config.publish_tf = False
    broadcaster.tell(seen(4))
    assert complaints.current() == [], "what nobody wants cannot be wrong"


def test_odometry_tells_how_sure_the_pose_of_the_base_is(
    make: Callable[..., WorldBroadcaster], transforms: SlowTransforms, robot: Robot
) -> None:
    broadcaster = make(publish_tf=False)
    messages = robot.collect(Odometry, "/mapper/odometry")
    robot.wait(lambda: broadcaster._odometry.get_subscription_count(), "the match")
    for stamp in (1, 2):
        transforms.known["camera_optical", "base_link", stamp] = CAMERA_FROM_BASE
    broadcaster.tell(seen(1))
    broadcaster.tell(seen(2, None))
    robot.wait(lambda: len(messages) == 2, "two poses")
    known, unknown = messages
    assert (known.header.frame_id, known.child_frame_id) == ("map", "base_link")
    position = (pose_at(1) @ CAMERA_FROM_BASE).translation
    assert_allclose([known.pose.pose.position.x, known.pose.pose.position.y], position[:2], atol=1e-12)
    expected = attached_covariance(COVARIANCE, pose_at(1), CAMERA_FROM_BASE)
    assert_allclose(np.reshape(known.pose.covariance, (6, 6)), expected, atol=1e-12)
    assert expected[0, 0] != COVARIANCE[0, 0], "a turn of the camera moves the base"
    assert (unknown.pose.covariance[0], unknown.twist.covariance[0]) == (-1.0, -1.0)


def test_nothing_is_looked_up_for_nobody_and_our_own_ear_is_nobody(
    node: LifecycleNode, complaints: Complaints, robot: Robot
) -> None:
    transforms = TopicTransforms(node, complaints)
    broadcaster = WorldBroadcaster(node, NodeConfig(), transforms, complaints)
    node.trigger_configure()
    node.trigger_activate()
    try:
        robot.wait(lambda: broadcaster._tf.get_subscription_count() == 1, "our own subscription")
        wheels = robot.node.create_publisher(TFMessage, "/tf", 10)
        robot.wait(lambda: wheels.get_subscription_count() == 1, "the ear of the node")
        wheels.publish(TFMessage(transforms=[transform_message(1, "base_link", "camera_optical", Sim3())]))
        robot.wait(lambda: transforms.parent("camera_optical") == "base_link", "the camera's place on the robot")
        broadcaster.tell(seen(1))
        assert not broadcaster._waiting and complaints.current() == []
        robot.collect(TFMessage, "/tf")
        robot.wait(lambda: broadcaster._tf.get_subscription_count() == 2, "somebody else")
        broadcaster.tell(seen(2))
        robot.wait(complaints.worst, "the refusal to give the camera a second parent")
    finally:
        broadcaster.close()
        transforms.close()
