"""Odometry as a topic: interpolated, and told when it is of no use; and the scale of the map in the running node."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from library import walk
from nav_msgs.msg import Odometry
from robot import BEST_EFFORT, LATCHED, RELIABLE, Robot, image_message
from sensor_msgs.msg import Image
from spann3r_ros.msg import ReconstructionStatus
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from spann3r_ros.complaints import Complaints
from spann3r_ros.errors import GeometryError
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.ros.conversions import float_image, odometry_message, pose_stamped, transform_message
from spann3r_ros.ros.node import Spann3rNode
from spann3r_ros.ros.odometry_input import MOST_APART, OdometryInput
from spann3r_ros.sim3 import Sim3

SECOND = 1_000_000_000
BASE_FROM_CAMERA = Sim3(translation=np.array([0.0, 0.0, 0.5]))


def at(x: float) -> Sim3:
    return Sim3(translation=np.array([x, 0.0, 0.0]))


class Mast:
    """Transforms of a robot whose camera stands on its base."""

    subscriptions_to_tf = 0

    def lookup(self, target: str, source: str, stamp: int) -> Sim3:
        if (target, source) != ("base_link", "camera"):
            raise GeometryError(f"no transform between '{target}' and '{source}' at {stamp}")
        return BASE_FROM_CAMERA

    def parent(self, _frame: str) -> str | None:
        return None

    def clear(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def odometry(robot: Robot) -> Iterator[OdometryInput]:
    """On the robot's own node."""
    config = NodeConfig(odometry_topic="/odom", odom_frame="odom", base_frame="base_link")
    made = OdometryInput(robot.node, config, Mast(), Complaints(lambda _severity, _text: None))
    yield made
    made.close()


def subscribed(odometry: OdometryInput, robot: Robot, kind: type, qos: object = RELIABLE) -> Callable[[object], None]:
    """What publishes a message and returns when it arrived."""
    publisher = robot.node.create_publisher(kind, "/odom", qos)

    def found() -> bool:
        odometry.discover()
        return publisher.get_subscription_count() > 0

    robot.wait(found, "the subscription")

    def publish(message: object) -> None:
        before = odometry.last_arrival
        publisher.publish(message)
        robot.wait(lambda: odometry.last_arrival > before, "the message")

    return publish


@pytest.mark.fault("ROS tools")
def test_activation_and_the_timer_that_look_at_once_subscribe_once(
    odometry: OdometryInput, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.node.create_publisher(Odometry, "/odom", RELIABLE)
    ask = robot.node.get_publishers_info_by_topic
    robot.wait(lambda: ask("/odom"), "the publisher")

    def ask_slowly(topic: str) -> object:
        time.sleep(0.05)
        return ask(topic)

    monkeypatch.setattr(robot.node, "get_publishers_info_by_topic", ask_slowly)
    together = threading.Barrier(8)

    def look() -> None:
        together.wait()
        odometry.discover()

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([each for each in robot.node.subscriptions if each.topic_name == "/odom"]) == 1


def kinds(odometry: OdometryInput) -> dict[str, str]:
    return {each.kind: each.text for each in odometry._complaints.current()}


def moving(seconds: float, x: float, child: str = "/base_link") -> Odometry:
    return odometry_message(round(seconds * SECOND), "odom", child, at(x))


@pytest.mark.parametrize("qos", [RELIABLE, BEST_EFFORT], ids=["reliable", "best effort"])
def test_the_camera_is_found_between_two_messages_and_not_over_a_gap(
    odometry: OdometryInput, robot: Robot, qos: object
) -> None:
    publish = subscribed(odometry, robot, Odometry, qos)
    assert odometry.prior("camera", SECOND) is None
    for seconds, x in ((1.0, 0.0), (1.1, 1.0), (2.0, 2.0)):
        publish(moving(seconds, x))
    found = odometry.prior("camera", round(1.025 * SECOND))
    assert found is not None
    np.testing.assert_allclose(found.translation, [0.25, 0.0, 0.5])
    assert odometry.prior("camera", round(1.5 * SECOND)) is None  # messages are missing
    assert odometry.prior("camera", round(2.1 * SECOND)) is None  # it lags
    assert odometry.found == 1 and not kinds(odometry)


def test_nan_and_empty_poses_are_ignored_and_told(odometry: OdometryInput, robot: Robot) -> None:
    publish = subscribed(odometry, robot, Odometry)
    publish(moving(1.0, 0.0))
    broken = moving(1.05, 0.0)
    broken.pose.pose.position.x = math.nan
    publish(broken)
    broken.pose.pose.position.x, broken.pose.pose.orientation.w = 0.0, 0.0  # never filled in
    publish(broken)
    publish(moving(1.1, 1.0))
    found = odometry.prior("camera", round(1.05 * SECOND))
    assert found is not None and found.translation[0] == pytest.approx(0.5)
    assert odometry.refused == 2 and "2 so far" in kinds(odometry)["odometry message"]


def test_another_clock_is_told_and_settles(odometry: OdometryInput, robot: Robot) -> None:
    publish = subscribed(odometry, robot, Odometry)
    publish(moving(1.0, 0.0))
    for number in range(MOST_APART):
        assert "odometry apart" not in kinds(odometry)
        assert odometry.prior("camera", 1_700_000_000 * SECOND + number) is None
    assert "differs by -1699999999.000 s" in kinds(odometry)["odometry apart"]
    publish(moving(1.1, 1.0))
    assert odometry.prior("camera", round(1.05 * SECOND)) is not None
    assert not kinds(odometry)


def test_a_restarted_clock_begins_anew_and_what_is_kept_is_bounded(odometry: OdometryInput, robot: Robot) -> None:
    publish = subscribed(odometry, robot, Odometry)
    for number in range(30):
        publish(moving(100.0 + number, 0.0))
    assert len(odometry._tree._links["body"].stamps) <= 11
    publish(moving(1.0, 5.0))
    publish(moving(1.2, 6.0))
    found = odometry.prior("camera", round(1.1 * SECOND))
    assert found is not None and found.translation[0] == pytest.approx(5.5)
    odometry.clear()
    assert odometry.prior("camera", round(1.1 * SECOND)) is None


def test_a_pose_is_the_base_s_and_a_frame_that_leads_nowhere_is_told(odometry: OdometryInput, robot: Robot) -> None:
    publish = subscribed(odometry, robot, PoseStamped)
    publish(pose_stamped(SECOND, "odom", at(3.0)))
    found = odometry.prior("camera", SECOND)
    assert found is not None
    np.testing.assert_allclose(found.translation, [3.0, 0.0, 0.5])
    assert odometry.prior("other_camera", SECOND) is None
    assert "no transform leads from 'base_link' to the camera" in kinds(odometry)["odometry frame"]


def test_a_topic_of_another_type_is_told(odometry: OdometryInput, robot: Robot) -> None:
    robot.node.create_publisher(String, "/odom", RELIABLE)

    def told() -> bool:
        odometry.discover()
        return "odometry topic" in kinds(odometry)

    robot.wait(told, "the complaint")
    assert "std_msgs/msg/String" in kinds(odometry)["odometry topic"]


def test_the_running_node_hands_the_topic_s_odometry_to_its_frames(
    start_inside: Callable[..., Spann3rNode], robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spann3r_ros.mapping.odometry_track import OdometryTrack

    seen: list[OdometryTrack] = []
    observe = OdometryTrack.observe

    def watched(self: OdometryTrack, prediction: object) -> object:
        seen[:] = [self]
        return observe(self, prediction)  # type: ignore[arg-type]

    monkeypatch.setattr(OdometryTrack, "observe", watched)
    start_inside(odometry_topic="/odom", base_frame="base_link", odom_frame="odom")
    frames = walk(6)
    static = robot.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    static.publish(TFMessage(transforms=[transform_message(0, "base_link", "camera_optical_frame", BASE_FROM_CAMERA)]))
    poses, images = robot.publisher(Odometry, "/odom"), robot.publisher(Image, "/camera/image_raw")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    for frame in frames:
        images.publish(image_message(frame))
        # After its image, as it is on robots.
        for shift in (-5_000_000, 5_000_000):
            poses.publish(odometry_message(frame.stamp + shift, "odom", "base_link", at(0.1 * frame.index)))
    robot.wait(lambda: statuses[-1].frames_processed == 6, "the frames")
    robot.wait(lambda: seen and seen[0].found >= 4, "their odometry")
    for sample in seen[0].samples:
        assert sample.told.translation[2] == pytest.approx(0.5)


def test_measured_depth_makes_a_map_metric_and_the_status_says_so(
    start_inside: Callable[..., Spann3rNode], robot: Robot, relative_checkpoint: Path
) -> None:
    start_inside(checkpoint=str(relative_checkpoint), depth_topics=["/depth"])
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    reports = robot.collect(DiagnosticArray, "/diagnostics")
    images, depths = robot.publisher(Image, "/camera/image_raw"), robot.publisher(Image, "/depth")
    robot.synchronize()
    for frame in walk(16):
        depths.publish(float_image(frame.stamp, "camera_optical_frame", np.full((48, 64), 5.0, np.float32)))
        images.publish(image_message(frame))
    robot.wait(lambda: statuses[-1].frames_processed == 16 and statuses[-1].metric, "a metric map")
    status = statuses[-1]
    assert status.scale_source == "depth" and "measurements by depth" in status.scale_note
    # The network's wall is 2.0 units away on the mean, 0.3 and 0.2 waves.
    assert status.scale_value == pytest.approx(2.5, rel=0.15)
    assert 0 < status.scale_deviation < 0.03 and 0 <= status.scale_age < 2.0
    robot.wait(lambda: values(reports[-1])["scale source"] == "depth", "the diagnostics")
    assert float(values(reports[-1])["scale value [m/unit]"]) == pytest.approx(status.scale_value, rel=1e-3)


def test_a_constant_is_declared_in_the_status(
    start_inside: Callable[..., Spann3rNode], robot: Robot, relative_checkpoint: Path
) -> None:
    start_inside(checkpoint=str(relative_checkpoint), scale__source="constant", scale__constant=0.5)
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    images = robot.publisher(Image, "/camera/image_raw")
    for frame in walk(3):
        images.publish(image_message(frame))
    robot.wait(lambda: statuses[-1].frames_processed == 3, "the frames")
    status = statuses[-1]
    assert (status.metric, status.scale_source, status.scale_value) == (True, "constant", 0.5)
    assert math.isnan(status.scale_deviation) and math.isnan(status.scale_age)


def values(message: DiagnosticArray) -> dict[str, str]:
    return {pair.key: pair.value for pair in message.status[0].values}
