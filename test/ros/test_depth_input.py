"""A live depth topic beside the images: what reaches the network, what is refused, and what is told."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from library import BEGIN, OPTICAL, walk
from node_process import NodeProcess
from numpy.typing import NDArray
from rclpy.qos import ReliabilityPolicy
from robot import BEST_EFFORT, RELIABLE, Robot, image_message, read_cloud, stamp
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from spann3r_ros.config import Config, from_mapping
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.rectification import rectification
from spann3r_ros.models.registry import parameter_groups
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.ros.depth_input import KEPT, MOST_APART
from spann3r_ros.ros.node import Spann3rNode

StartInside = Callable[..., Spann3rNode]
TOPIC = "/camera/depth_registered/image_raw"
PI3X = {"model": "pi3x", "checkpoint": "random", "pi3x__window": 4, "pi3x__overlap": 1}
WITH_DEPTH = {**PI3X, "depth_topics": [TOPIC]}


class Taken:
    """The frames that reached the reconstruction; it may be held back.

    Attributes:
        frames: in order.
        free: cleared while the next frame must wait before it is answered.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.free = threading.Event()
        self.free.set()

    @property
    def depths(self) -> list[NDArray[np.float32] | None]:
        return [frame.depth for frame in self.frames]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    """Watches the real reconstruction, which goes on with what it gets."""
    seen, process = Taken(), Reconstruction.process

    def watched(self: Reconstruction, frame: Frame) -> list[WorldPrediction]:
        seen.frames.append(frame)
        assert seen.free.wait(60.0)
        return process(self, frame)

    monkeypatch.setattr(Reconstruction, "process", watched)
    return seen


def depth_of(index: int, shape: tuple[int, int] = (72, 96)) -> NDArray[np.float32]:
    """Whole millimeters, so that both encodings say the same; different in every image, unknown in a corner."""
    rows, columns = np.indices(shape)
    millimeters = 1000 + 10 * index + 7 * rows + 3 * columns
    millimeters[:4, :5] = 0
    return (millimeters.astype(np.float32) / np.float32(1000.0)).astype(np.float32)


def depth_message(
    time: int, depth: NDArray[np.float32], encoding: str = "16UC1", holes: tuple[float, ...] = (0.0,)
) -> Image:
    """A depth image; 32FC1 says ``holes`` in turn where the depth is 0."""
    values: NDArray[Any] = np.round(depth * 1000).astype("<u2")
    if encoding == "32FC1":
        values = depth.astype("<f4")
        values[values == 0] = np.resize(holes, int((values == 0).sum()))
    height, width = depth.shape
    message = Image(height=height, width=width, encoding=encoding, step=width * values.itemsize)
    message.header.stamp, message.header.frame_id = stamp(time), OPTICAL
    message.data.frombytes(values.tobytes())
    return message


def wait_for_depth(robot: Robot, node: Spann3rNode, count: int, camera: int = 0) -> None:
    """Return when the node has kept so many depth messages."""
    session = node._session
    assert session is not None
    source = session.cameras[camera].depth
    assert source is not None
    robot.wait(lambda: len(source._kept) >= min(count, KEPT), f"{count} depth images")


def texts(node: Spann3rNode) -> list[str]:
    return [complaint.text for complaint in node._complaints.current()]


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_the_network_is_told_the_depth_and_answers_as_the_library_does(
    encoding: str, start_inside: StartInside, robot: Robot, taken: Taken
) -> None:
    frames = walk(7)
    measured = [dataclasses.replace(frame, depth=depth_of(frame.index)) for frame in frames]
    names = {name.replace("__", "."): value for name, value in PI3X.items()}
    settings = {**names, "device": "cpu", "tracking.enabled": False}

    def answers(given: list[Frame]) -> list[WorldPrediction]:
        library = Reconstruction.from_config(from_mapping(Config, settings, parameter_groups()))
        return [answer for frame in given for answer in library.process(frame)]

    expected, blind = answers(measured), answers(frames)
    assert not np.allclose(expected[0].points, blind[0].points, rtol=1e-2), "the depth must matter"
    taken.frames.clear()

    node = start_inside(**WITH_DEPTH, cloud="pointmap", status_rate=20.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    diagnostics = robot.collect(DiagnosticArray, "/diagnostics")
    depths, images = robot.publisher(Image, TOPIC), robot.publisher(Image, "/camera/image_raw")
    for frame in measured:
        assert frame.depth is not None
        holes = (np.nan, np.inf, -np.inf, -1.0)
        depths.publish(depth_message(frame.stamp, frame.depth, encoding, holes))
        wait_for_depth(robot, node, frame.index + 1)
        images.publish(image_message(frame))
    robot.wait(lambda: len(clouds) >= len(expected), "a cloud for every answer")
    assert len(taken.frames) == 7
    for got, frame in zip(taken.depths, measured, strict=True):
        np.testing.assert_array_equal(got, frame.depth)
    for cloud, answer in zip(clouds, expected, strict=False):
        points = read_cloud(cloud)
        found = np.stack([points["x"], points["y"], points["z"]], axis=-1)
        np.testing.assert_allclose(found, answer.points, rtol=1e-4, atol=1e-4)
    wanted = {"depth topic": TOPIC, "with depth": "7", "without depth": "0"}
    robot.wait(
        lambda: wanted.items() <= {each.key: each.value for each in diagnostics[-1].status[1].values}.items(),
        "the counters",
    )


def test_depth_that_comes_after_its_image_is_waited_for(start_inside: StartInside, robot: Robot, taken: Taken) -> None:
    node = start_inside(**WITH_DEPTH, depth_max_age=1.0)
    depths, images = robot.publisher(Image, TOPIC), robot.publisher(Image, "/camera/image_raw")
    first, second = walk(2)
    depths.publish(depth_message(first.stamp, depth_of(0)))
    wait_for_depth(robot, node, 1)
    images.publish(image_message(second))
    session = node._session
    assert session is not None
    robot.wait(lambda: session.cameras[0].counts.received == 1, "the image")
    depths.publish(depth_message(second.stamp, depth_of(1)))
    robot.wait(lambda: taken.frames, "the frame")
    np.testing.assert_array_equal(taken.depths[0], depth_of(1), "the first depth is near enough, the second is nearer")


def test_images_that_queue_for_long_keep_their_depth(start_inside: StartInside, robot: Robot, taken: Taken) -> None:
    """Longer than messages are kept, and half of the depth comes after its image."""
    node = start_inside(**WITH_DEPTH)
    depths, images = robot.publisher(Image, TOPIC), robot.publisher(Image, "/camera/image_raw")
    session = node._session
    assert session is not None
    taken.free.clear()
    frames = walk(KEPT + 8)
    for frame in frames:
        depth = depth_message(frame.stamp, depth_of(frame.index))
        if frame.index % 2 == 0:
            depths.publish(depth)
            wait_for_depth(robot, node, frame.index + 1)
        images.publish(image_message(frame))
        robot.wait(
            lambda: (
                session.cameras[0].counts.received == len(taken.frames) + session.worker.statistics().waiting
                and session.cameras[0].counts.received > 0
            ),
            "the image in the queue",
        )
        if frame.index % 2:
            depths.publish(depth)
            wait_for_depth(robot, node, frame.index + 1)
    taken.free.set()
    robot.wait(lambda: len(taken.frames) == len(frames), "all frames")
    for index, depth in enumerate(taken.depths):
        np.testing.assert_array_equal(depth, depth_of(index), str(index))
    source = session.cameras[0].depth
    assert source is not None
    robot.wait(lambda: not source._expected, "nothing is expected any more")


@pytest.mark.fault("encodings")
def test_depth_that_cannot_be_used_is_told_once_and_the_images_go_on(
    start_inside: StartInside, robot: Robot, taken: Taken
) -> None:
    node = start_inside(**WITH_DEPTH)
    depths, images = robot.publisher(Image, TOPIC), robot.publisher(Image, "/camera/image_raw")
    frames = walk(6)
    square = depth_message(frames[0].stamp, depth_of(0, (72, 72)))
    again = depth_message(frames[1].stamp, depth_of(0, (72, 72)))
    colors = image_message(frames[2])
    cut = depth_message(frames[3].stamp, depth_of(3))
    del cut.data[-40:]
    half = depth_message(frames[4].stamp, depth_of(4, (36, 48)), "32FC1", (np.nan,))
    good = depth_message(frames[5].stamp, depth_of(5))
    for count, (frame, depth) in enumerate(zip(frames, (square, again, colors, cut, half, good), strict=True), 1):
        depths.publish(depth)
        wait_for_depth(robot, node, count)
        images.publish(image_message(frame))
    robot.wait(lambda: len(taken.frames) == 6, "all frames")
    assert taken.depths[:4] == [None] * 4
    np.testing.assert_array_equal(taken.depths[4], depth_of(4, (36, 48)).repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(taken.depths[5], depth_of(5))
    told = [text for text in texts(node) if "depth of '" in text]
    assert len(told) == 3, "one for each kind"
    assert any("got 72 x 72; expected 96 x 72" in text for text in told)
    assert any("got rgb8; expected 32FC1 | 16UC1" in text for text in told)
    assert any("image data too short" in text for text in told)
    session = node._session
    assert session is not None and session.worker.statistics().failed == 0


@pytest.mark.fault("words")
def test_depth_of_other_stamps_is_no_depth_and_told(start_inside: StartInside, robot: Robot, taken: Taken) -> None:
    node = start_inside(**WITH_DEPTH)
    depths, images = robot.publisher(Image, TOPIC), robot.publisher(Image, "/camera/image_raw")
    frames = walk(MOST_APART + 1)
    for frame in frames[:-1]:
        depths.publish(depth_message(frame.stamp + 30_000_000, depth_of(0)))
        wait_for_depth(robot, node, frame.index + 1)
        images.publish(image_message(frame))
        robot.wait(lambda: len(taken.frames) == frame.index + 1, "the frame")  # noqa: B023
    assert taken.depths == [None] * MOST_APART
    robot.wait(lambda: any("differs by +0.030 s, 0.02 s are allowed" in text for text in texts(node)), "the words")
    depths.publish(depth_message(frames[-1].stamp - 20_000_000, depth_of(1)))
    wait_for_depth(robot, node, len(frames))
    images.publish(image_message(frames[-1]))
    robot.wait(lambda: len(taken.frames) == len(frames), "the last frame")
    np.testing.assert_array_equal(taken.depths[-1], depth_of(1))
    assert not any("differs by" in text for text in texts(node))


@pytest.mark.fault("words")
def test_a_silent_depth_topic_is_told_once(start: Callable[..., NodeProcess], robot: Robot) -> None:
    node = start(**WITH_DEPTH, silence_timeout=1.0)
    depths = robot.publisher(Image, TOPIC, BEST_EFFORT)  # and says nothing
    images = robot.publisher(Image, "/camera/image_raw")
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    robot.synchronize()
    stopped = threading.Event()

    def drive() -> None:
        for number in range(600):
            images.publish(image_message(dataclasses.replace(walk(1)[0], stamp=BEGIN + number * 100_000_000)))
            if stopped.wait(0.1):
                return

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        line = node.wait_for_log(f"no depth from '{TOPIC}'")
        assert "/robot (sensor_msgs/msg/Image, best_effort); needed is sensor_msgs/msg/Image" in line
        robot.wait(lambda: len(clouds) >= 4, "images go on")
        depths.publish(depth_message(BEGIN, depth_of(0)))
        node.wait_for_log("arrives again")
    finally:
        stopped.set()
        thread.join()
    assert node.alive and node.log.count("no depth from") == 1


def test_the_subscription_asks_for_what_is_offered(start_inside: StartInside, robot: Robot) -> None:
    start_inside(**WITH_DEPTH)
    robot.publisher(Image, TOPIC, BEST_EFFORT)
    [asked] = robot.node.get_subscriptions_info_by_topic(TOPIC)
    assert asked.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT


def test_a_model_that_takes_no_depth_says_so_and_nothing_is_subscribed(
    start_inside: StartInside, robot: Robot, taken: Taken
) -> None:
    node = start_inside(depth_topics=[TOPIC], scale__source="model")
    [text] = [text for text in texts(node) if "depth_topics" in text]
    assert "the model spann3r takes no measured depth" in text and "pi3x" in text
    robot.node.create_publisher(Image, TOPIC, RELIABLE)
    images = robot.publisher(Image, "/camera/image_raw")
    images.publish(image_message(walk(1)[0]))
    robot.wait(lambda: taken.frames, "the frame")
    assert taken.depths == [None] and robot.node.count_subscribers(TOPIC) == 0


@pytest.mark.parametrize("topic", [TOPIC, "/camera/depth_registered/image_rect"])
def test_depth_is_rectified_with_its_image_unless_it_is_already(
    topic: str, start_inside: StartInside, robot: Robot, taken: Taken
) -> None:
    node = start_inside(**PI3X, depth_topics=[topic])
    info = CameraInfo(width=96, height=72, distortion_model="plumb_bob", d=[-0.3, 0.05, 0.0, 0.0, 0.0])
    info.k = [80.0, 0.0, 47.5, 0.0, 80.0, 35.5, 0.0, 0.0, 1.0]
    infos = robot.publisher(CameraInfo, "/camera/camera_info")
    depths, images = robot.publisher(Image, topic), robot.publisher(Image, "/camera/image_raw")
    [frame] = walk(1)
    infos.publish(info)
    depths.publish(depth_message(frame.stamp, depth_of(0)))
    wait_for_depth(robot, node, 1)
    images.publish(image_message(frame))
    robot.wait(lambda: taken.frames, "the frame")
    maps = rectification(Intrinsics(80.0, 80.0, 47.5, 35.5, 96, 72), "plumb_bob", list(info.d))
    assert maps is not None and taken.frames[0].intrinsics == maps.intrinsics
    expected = maps.apply_depth(depth_of(0)) if topic == TOPIC else depth_of(0)
    assert not np.array_equal(maps.apply_depth(depth_of(0)), depth_of(0))
    np.testing.assert_array_equal(taken.depths[0], expected)


def test_each_camera_has_its_own_depth_or_none(start_inside: StartInside, robot: Robot, taken: Taken) -> None:
    """Both name the same frame, as careless drivers do."""
    node = start_inside(**PI3X, image_topics=["/left/image", "/right/image"], depth_topics=["none", "/right/depth"])
    depths = robot.publisher(Image, "/right/depth")
    left, right = robot.publisher(Image, "/left/image"), robot.publisher(Image, "/right/image")
    frames = walk(2)
    for number, frame in enumerate(frames):
        depths.publish(depth_message(frame.stamp, depth_of(number)))
        wait_for_depth(robot, node, number + 1, camera=1)
        left.publish(image_message(frame))
        robot.wait(lambda: len(taken.frames) == 2 * number + 1, "the left frame")  # noqa: B023
        right.publish(image_message(dataclasses.replace(frame, stamp=frame.stamp + 1_000_000)))
        robot.wait(lambda: len(taken.frames) == 2 * number + 2, "the right frame")  # noqa: B023
    assert taken.depths[0] is None and taken.depths[2] is None
    np.testing.assert_array_equal(taken.depths[1], depth_of(0))
    np.testing.assert_array_equal(taken.depths[3], depth_of(1))
