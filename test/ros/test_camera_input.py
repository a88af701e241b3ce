"""Cameras of every kind: transports, QoS, calibration, several at once, and images that cannot be used."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from library import BEGIN, OPTICAL, reconstruct, walk
from node_process import NodeProcess
from numpy.testing import assert_allclose
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import ReliabilityPolicy
from robot import BEST_EFFORT, RELIABLE, Robot, image_message, read_cloud, stamp, to_nanoseconds
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from spann3r_ros.msg import ReconstructionStatus
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.rectification import rectification
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.ros.node import Spann3rNode

Start = Callable[..., NodeProcess]


def assert_same(message: PointCloud2, prediction: WorldPrediction) -> None:
    """The cloud on the wire is the library's prediction."""
    points, usable = read_cloud(message), prediction.confidence >= 0.3
    assert to_nanoseconds(message.header.stamp) == prediction.frame.stamp
    assert_allclose(
        np.stack([points["x"], points["y"], points["z"]], -1), prediction.points[usable], rtol=1e-6, atol=1e-6
    )


def asked_reliability(robot: Robot, topic: str) -> list[ReliabilityPolicy]:
    return [info.qos_profile.reliability for info in robot.node.get_subscriptions_info_by_topic(topic)]


def test_best_effort_publishers_of_large_images_and_reliable_ones_after_them(
    start: Start, robot: Robot, checkpoint: Path
) -> None:
    large = [
        dataclasses.replace(frame, image=cv2.resize(frame.image, (640, 480), interpolation=cv2.INTER_NEAREST))
        for frame in walk(6)
    ]
    _, expected = reconstruct(checkpoint, large)
    node = start()
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    camera = robot.publisher(Image, "/camera/image_raw", BEST_EFFORT)
    robot.synchronize()
    assert asked_reliability(robot, "/camera/image_raw") == [ReliabilityPolicy.BEST_EFFORT]
    for count, frame in enumerate(large[:3]):
        camera.publish(image_message(frame))
        robot.wait(lambda count=count: len(clouds) == count, f"cloud {count}")
    robot.node.destroy_publisher(camera)
    camera = robot.node.create_publisher(Image, "/camera/image_raw", RELIABLE)
    robot.wait(
        lambda: asked_reliability(robot, "/camera/image_raw") == [ReliabilityPolicy.RELIABLE], "a new subscription"
    )
    robot.wait(lambda: camera.get_subscription_count() == 1, "the match")
    for frame in large[3:]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 5, "all clouds")
    for message, prediction in zip(clouds, expected, strict=True):
        assert_same(message, prediction)
    assert "best_effort); raw images over 512 KB may be lost" in node.log


def test_compressed_images_are_found_beside_the_topic(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames = walk(4)
    _, expected = reconstruct(checkpoint, frames)
    start()
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    camera = robot.publisher(CompressedImage, "/camera/image_raw/compressed")
    robot.synchronize()
    for frame in frames:
        message = CompressedImage(format="rgb8; png compressed bgr8")
        message.header.stamp, message.header.frame_id = stamp(frame.stamp), OPTICAL
        message.data.frombytes(cv2.imencode(".png", frame.image[..., ::-1])[1].tobytes())
        camera.publish(message)
    robot.wait(lambda: len(clouds) == 3, "three clouds")
    for message, prediction in zip(clouds, expected, strict=True):
        assert_same(message, prediction)


def test_two_cameras_feed_one_memory(start: Start, robot: Robot, checkpoint: Path) -> None:
    left, right = walk(4, seed=5, camera="left_optical"), walk(4, seed=6, camera="right_optical")
    both = [
        dataclasses.replace(frame, index=2 * pair + side, stamp=frame.stamp + side * 1_000_000)
        for pair in range(4)
        for side, frame in enumerate((left[pair], right[pair]))
    ]
    _, expected = reconstruct(checkpoint, both)
    start(image_topics=["left/image_raw", "/right/image_raw"], camera_names=["port", "starboard"], status_rate=30.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    diagnostics = robot.collect(DiagnosticArray, "/diagnostics")
    transforms = robot.collect(TFMessage, "/tf")
    cameras = [robot.publisher(Image, f"/{side}/image_raw") for side in ("left", "right")]
    robot.synchronize()
    for count, frame in enumerate(both):  # topics have no order among each other: one image at a time
        cameras[count % 2].publish(image_message(frame, frame.camera))
        robot.wait(lambda count=count: statuses and statuses[-1].frames_processed == count + 1, f"image {count}")
    robot.wait(lambda: len(clouds) == 7 and len(transforms) == 7, "seven clouds")
    for message, prediction in zip(clouds, expected, strict=True):
        assert_same(message, prediction)
    children = [message.transforms[0].child_frame_id for message in transforms]
    assert children == [prediction.frame.camera for prediction in expected]
    names = [entry.name for entry in diagnostics[-1].status]
    assert names == ["spann3r: reconstruction", "spann3r: camera port", "spann3r: camera starboard"]


def test_a_distorted_camera_is_rectified_and_its_calibration_is_used(
    start: Start, robot: Robot, checkpoint: Path
) -> None:
    raw = Intrinsics(80.0, 80.0, 47.5, 35.5, 96, 72)
    lens = rectification(raw, "plumb_bob", [-0.2, 0.05, 0.0, 0.0, 0.0])
    assert lens is not None
    frames = walk(4)
    rectified = [
        Frame(frame.index, frame.stamp, frame.camera, lens.apply(frame.image), lens.intrinsics) for frame in frames
    ]
    _, expected = reconstruct(checkpoint, rectified)
    start()
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    infos = robot.collect(CameraInfo, "/spann3r/depth/camera_info")
    calibration = robot.publisher(CameraInfo, "/camera/camera_info")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in frames[:2]:  # before the calibration: they wait for it
        camera.publish(image_message(frame))
    info = CameraInfo(width=96, height=72, distortion_model="plumb_bob", d=[-0.2, 0.05, 0.0, 0.0, 0.0])
    info.k = raw.matrix().ravel().tolist()
    calibration.publish(info)
    for frame in frames[2:]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 3 and len(infos) == 3, "three clouds")
    for index, prediction in enumerate(expected):
        assert_same(clouds[index], prediction)
        assert prediction.intrinsics is not None
        assert_allclose(np.array(infos[index].k).reshape(3, 3), prediction.intrinsics.matrix(), rtol=1e-6)


@pytest.mark.fault("image judged before decoding")
def test_bad_images_are_named_and_the_good_ones_go_on(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames = walk(4)
    _, expected = reconstruct(checkpoint, frames)
    node = start(status_rate=30.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    diagnostics = robot.collect(DiagnosticArray, "/diagnostics")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    camera.publish(image_message(frames[0]))

    def bad(offset: int, **changes: object) -> None:
        message = image_message(dataclasses.replace(frames[0], stamp=BEGIN + offset))
        for name, value in changes.items():
            setattr(message, name, value)
        camera.publish(message)

    bad(1, encoding="32FC1")
    assert "rgb8 | bgr8" in node.wait_for_log("image encoding: got 32FC1")
    bad(2, height=0, width=0, step=0, data=b"")
    node.wait_for_log("empty image: got 0 x 0 pixels")
    bad(3, data=bytes(100))
    node.wait_for_log("image data too short: got 100 bytes")
    bad(4, encoding="nv12", width=7, step=7, height=5, data=bytes(70))
    node.wait_for_log("size of an image in nv12: got 7 x 5")
    bad(5, height=2**32 - 1, width=2**32 - 1)
    node.wait_for_log("image too large: got 4294967295 x 4294967295 pixels; expected at most 50000000")
    bad(6, encoding="mono8", width=10, height=10, step=10, data=bytes(100))
    node.wait_for_log("image smaller than a patch of the networks: got 10 x 10")
    robot.wait(lambda: statuses[-1].frames_failed == 6, "six refusals")
    assert "image smaller than a patch" in statuses[-1].complaint
    robot.wait(lambda: diagnostics[-1].status[1].level == DiagnosticStatus.WARN, "a warning in the diagnostics")
    assert node.alive
    for frame in frames[1:]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 3, "the good images")
    for message, prediction in zip(clouds, expected, strict=True):
        assert_same(message, prediction)

    larger = walk(5, seed=9)[4]
    resized = dataclasses.replace(larger, image=cv2.resize(larger.image, (128, 96)))
    camera.publish(image_message(resized))
    node.wait_for_log("changed from 96 x 72 to 128 x 96 pixels")
    robot.wait(lambda: len(clouds) == 4, "the image of another size")

    nameless = dataclasses.replace(walk(6)[5], stamp=0)
    camera.publish(image_message(nameless, ""))
    node.wait_for_log("have no stamp: the time of their arrival is used")
    node.wait_for_log("name no frame: 'camera_optical_frame' is used")


def test_rate_and_motion_thin_out_the_images_and_change_while_running(start: Start, robot: Robot) -> None:
    start(max_rate=5.0, status_rate=30.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    frames = walk(20)
    for frame in frames[:10]:  # 10 Hz
        camera.publish(image_message(frame))
    robot.wait(lambda: statuses[-1].frames_received == 10 and statuses[-1].frames_skipped == 5, "ten images")
    assert statuses[-1].frames_dropped == 0
    robot.wait(lambda: len(clouds) == 4, "four clouds of five images")
    assert [to_nanoseconds(cloud.header.stamp) for cloud in clouds] == [frame.stamp for frame in frames[0:8:2]]

    changes = [("max_rate", 0.0), ("min_motion", 10.0)]
    request = SetParameters.Request(
        parameters=[Parameter(name=name, value=ParameterValue(type=3, double_value=value)) for name, value in changes]
    )
    assert all(result.successful for result in robot.call(SetParameters, "/spann3r/set_parameters", request).results)
    assert robot.call(Trigger, "/spann3r/reset").success
    clouds.clear()
    still = [dataclasses.replace(frame, image=frames[10].image) for frame in frames[10:15]]
    for frame in [*still, *frames[15:18]]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 3, "three clouds")
    assert [to_nanoseconds(cloud.header.stamp) for cloud in clouds] == [
        frame.stamp for frame in (frames[10], frames[15], frames[16])
    ]


@pytest.mark.fault("calibration")
@pytest.mark.fault("ROS tools", case="10")
def test_a_silent_camera_info_delays_the_first_image_once(start: Start, robot: Robot, checkpoint: Path) -> None:
    """With the newest image only: those that are held would replace each other. Frames begin with a slash."""
    frames = walk(7)
    _, expected = reconstruct(checkpoint, frames)
    node = start(queue_policy="latest", status_rate=30.0, world_frame="/map")
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    transforms = robot.collect(TFMessage, "/tf")
    robot.publisher(CameraInfo, "/camera/camera_info")  # and says nothing
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    camera.publish(image_message(frames[0], "/" + OPTICAL))  # alone: no further image has to come to release it
    node.wait_for_log("'camera/camera_info' has a publisher but no message")
    for count, frame in enumerate(frames):
        if count:
            camera.publish(image_message(frame, "//" * (count % 2) + OPTICAL))
        robot.wait(lambda count=count: statuses and statuses[-1].frames_processed == count + 1, f"image {count}")
    robot.wait(lambda: len(clouds) == 6 and len(transforms) == 6, "all answers")
    assert statuses[-1].frames_dropped == statuses[-1].frames_skipped == 0
    for message, prediction in zip(clouds, expected, strict=True):
        assert_same(message, prediction)
        assert message.header.frame_id == "map" or not message.header.frame_id.startswith("/")
    entries = [message.transforms[0] for message in transforms]
    assert {(entry.header.frame_id, entry.child_frame_id) for entry in entries} == {("map", OPTICAL)}
    assert node.log.count("has a publisher but no message") == 1


@pytest.mark.fault("ROS tools")
def test_a_camera_is_subscribed_once_when_activation_and_the_timer_look_at_once(
    start_inside: Callable[..., Spann3rNode], robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image between two subscriptions would be lost."""
    node = start_inside()
    session, made = node._session, list[str]()
    assert session is not None
    subscribe = node.create_subscription

    def slow(kind: type, topic: str, *arguments: Any, **options: Any) -> Any:
        made.append(topic)
        time.sleep(0.2)  # as on a busy machine, so that the others look meanwhile
        return subscribe(kind, topic, *arguments, **options)

    monkeypatch.setattr(node, "create_subscription", slow)
    robot.node.create_publisher(Image, "/camera/image_raw", RELIABLE)
    robot.wait(lambda: node.count_publishers("/camera/image_raw"), "the publisher on the node's graph")
    threads = [threading.Thread(target=session.discover) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["/camera/image_raw"]
    assert asked_reliability(robot, "/camera/image_raw") == [ReliabilityPolicy.RELIABLE]
