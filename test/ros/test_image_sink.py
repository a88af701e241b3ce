"""What one camera hands to its sink."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator

import pytest
import rclpy
from library import walk
from numpy.testing import assert_array_equal
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot import Robot, image_message
from sensor_msgs.msg import Image

from spann3r_ros.complaints import GOOD_IMAGES, Complaints
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.ros.camera_input import CameraInput
from spann3r_ros.ros.image_sink import CameraImage, ReceivedImage
from spann3r_ros.stamp_order import Observed, StampOrder


class Sink:
    """Keeps what it gets, in order."""

    def __init__(self, complaints: Complaints) -> None:
        self.accepting = True
        self.order: StampOrder[ReceivedImage] = StampOrder(complaints)
        self.events: list[str | int] = []
        self.images: list[CameraImage] = []

    def observe(self, camera: str, stamp: int | None, image: ReceivedImage) -> Observed[ReceivedImage]:
        return self.order.observe(camera, stamp, image.clock, image)

    def time_jumped(self, reason: str) -> None:
        self.events.append(reason)

    def accept(self, image: CameraImage) -> None:
        self.events.append(image.stamp)
        self.images.append(image)


@pytest.fixture
def node(domain: int) -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    made = Node("mapper", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(made)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield made
    executor.shutdown()
    thread.join(5.0)
    made.destroy_node()
    rclpy.shutdown(context=context)


def test_images_go_to_the_sink_and_a_jump_of_time_is_told_before_them(node: Node, robot: Robot) -> None:
    complaints = Complaints(lambda _severity, _text: None)
    sink = Sink(complaints)
    config = NodeConfig(image_topics=["/front/image_raw"], image_transport="raw", image_qos="reliable")
    camera = CameraInput(node, config, 0, sink, complaints)
    camera.discover()
    publisher = robot.publisher(Image, "/front/image_raw")
    frames = walk(3)
    before = time.monotonic()
    publisher.publish(image_message(frames[2], "/front_optical"))
    robot.wait(lambda: len(sink.images) == 1, "an image")
    [image] = sink.images
    assert (image.stamp, image.frame_id, image.intrinsics) == (frames[2].stamp, "front_optical", None)
    assert_array_equal(image.pixels, frames[2].image)
    assert before <= image.arrival <= time.monotonic()

    early = [dataclasses.replace(frame, stamp=frame.stamp - 10**9) for frame in frames]
    for frame in early:
        publisher.publish(image_message(frame, "front_optical"))
    robot.wait(lambda: len(sink.images) == 4, "the images of another time")
    jump = f"images of camera 'front' jumped back to {early[0].stamp / 1e9:.3f} s"
    assert sink.events == [frames[2].stamp, jump, *(frame.stamp for frame in early)]
    for image, frame in zip(sink.images[1:], early, strict=True):
        assert_array_equal(image.pixels, frame.image)

    sink.accepting = False
    publisher.publish(image_message(frames[1], "front_optical"))
    robot.wait(lambda: camera.counts.received == 5, "an image that nobody wants")
    robot.wait(lambda: camera.counts.skipped == 1, "its count")
    assert len(sink.images) == 4
    camera.close()


def test_what_is_wrong_with_the_images_is_over_when_they_are_good_again(node: Node, robot: Robot) -> None:
    complaints = Complaints(lambda _severity, _text: None)
    sink = Sink(complaints)
    config = NodeConfig(image_topics=["/front/image_raw"], image_transport="raw", image_qos="reliable")
    camera = CameraInput(node, config, 0, sink, complaints)
    camera.discover()
    publisher = robot.publisher(Image, "/front/image_raw")
    frame = walk(1)[0]
    for _ in range(2):
        publisher.publish(image_message(dataclasses.replace(frame, stamp=0), ""))
    robot.wait(lambda: len(sink.images) == 2, "two images")
    assert sink.images[0].frame_id == "front_optical_frame" and 0 < sink.images[0].stamp < sink.images[1].stamp
    assert {each.kind for each in complaints.current()} == {"no stamp", "no frame"}
    assert {each.subject for each in complaints.current()} == {"camera front"}
    later = dataclasses.replace(frame, stamp=sink.images[1].stamp + 10**9 // 2)
    publisher.publish(image_message(later, "front_optical"))
    robot.wait(lambda: len(sink.images) == 3, "a good image")
    assert complaints.current() == []
    camera.close()


@pytest.mark.fault("time", case="16")
def test_by_arrival_no_stamp_matters(node: Node, robot: Robot) -> None:
    complaints = Complaints(lambda _severity, _text: None)
    sink = Sink(complaints)
    config = NodeConfig(image_topics=["/front/image_raw"], image_transport="raw", image_qos="reliable", stamp="arrival")
    camera = CameraInput(node, config, 0, sink, complaints)
    camera.discover()
    publisher = robot.publisher(Image, "/front/image_raw")
    begin = node.get_clock().now().nanoseconds
    for stamp in (0, 5, 5, 10**18, 3):
        publisher.publish(image_message(dataclasses.replace(walk(1)[0], stamp=stamp), "front_optical"))
    robot.wait(lambda: len(sink.images) == 5, "all images")
    stamps = [image.stamp for image in sink.images]
    assert begin <= stamps[0] and stamps == sorted(set(stamps)) and stamps[-1] <= node.get_clock().now().nanoseconds
    assert complaints.current() == [] and camera.counts.late == 0 and camera.usable
    camera.close()


@pytest.mark.fault("words")
def test_a_bad_image_is_over_when_ten_went_well(node: Node, robot: Robot) -> None:
    complaints = Complaints(lambda _severity, _text: None)
    sink = Sink(complaints)
    config = NodeConfig(image_topics=["/front/image_raw"], image_transport="raw", image_qos="reliable")
    camera = CameraInput(node, config, 0, sink, complaints)
    camera.discover()
    publisher = robot.publisher(Image, "/front/image_raw")
    first, *good = walk(GOOD_IMAGES + 1)
    bad = image_message(first, "front_optical")
    bad.encoding = "nonsense"
    publisher.publish(bad)
    robot.wait(lambda: camera.counts.refused == 1, "a refusal")
    assert [each.kind for each in complaints.current()] == ["refused: image encoding"] and not camera.usable
    for frame in good:
        assert complaints.current()
        publisher.publish(image_message(frame, "front_optical"))
        robot.wait(lambda frame=frame: camera.last_stamp == frame.stamp, "a good image")
    assert complaints.current() == [] and camera.usable
    camera.close()
