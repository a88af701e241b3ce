"""One camera: its topics found and subscribed, its messages turned into frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # of a module of its own since Jazzy
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from spann3r_ros.complaints import EVENT, GOOD_IMAGES, Complaints, reason
from spann3r_ros.errors import Spann3rError
from spann3r_ros.frame import check_smallest, frame_name
from spann3r_ros.frame_selection import FrameSelection
from spann3r_ros.geometry.camera_info import camera_info_topic
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.ros import qos
from spann3r_ros.ros.calibration import Calibration
from spann3r_ros.ros.conversions import nanoseconds
from spann3r_ros.ros.depth_input import NO_DEPTH, DepthInput
from spann3r_ros.ros.image_sink import CameraImage, ImageMessage, ImageSink, ReceivedImage
from spann3r_ros.ros.image_topic import ImageTopic, describe_all, find, publishers

CALIBRATION_PATIENCE = 2.0
"""Seconds that the first images wait, once, for a CameraInfo whose publisher is on the graph."""

MOST_HELD = 100
"""Images that wait for it at most."""

RECENT = 10
"""Images whose fate tells whether a camera is of use now."""


@dataclass
class CameraCounts:
    """What became of the images of a camera since it was subscribed or the last reset."""

    received: int = 0
    skipped: int = 0  # while paused, or not chosen by max_rate and min_motion
    late: int = 0  # not newer than the one before, or strays of another time
    refused: int = 0  # bad images


class CameraInput:
    """Subscribes to one camera; its callbacks only decode and hand frames on.

    Args:
        node: where subscriptions are made.
        config: the node's parameters; live ones are read anew for each image.
        index: place of the camera in ``image_topics``.
        sink: takes the images.
        complaints: of the node.
        use_depth: whether the model takes depth, so that ``depth_topics`` are of use.

    Attributes:
        complaints: those about this camera.
        depth: what is measured for its images; None where nothing is or nobody takes it.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        index: int,
        sink: ImageSink,
        complaints: Complaints,
        use_depth: bool = False,
    ) -> None:
        self._node, self._config, self._sink = node, config, sink
        self.topic = config.image_topics[index]
        self.name = (config.camera_names or names_from_topics(config.image_topics))[index]
        self.info_topic = (config.camera_info_topics or [*map(camera_info_topic, config.image_topics)])[index]
        self.subscribed: ImageTopic | None = None
        self.complaints = complaints.about(f"camera {self.name}")
        self.calibration = Calibration(self.topic, self.complaints)
        depth_topic = config.depth_topics[index] if config.depth_topics and use_depth else NO_DEPTH
        self.depth = None if depth_topic == NO_DEPTH else DepthInput(node, config, depth_topic, self.complaints)
        self.counts = CameraCounts()
        self.last_arrival = time.monotonic()  # of anything, good or bad; the silence begins now
        self.last_stamp = 0
        self._arrivals: deque[float] = deque(maxlen=20)
        self._selection = FrameSelection()
        self._group = MutuallyExclusiveCallbackGroup()
        self._subscription: Subscription[Any] | None = None
        self._info_subscription: Subscription[Any] | None = None
        self._lock = threading.Lock()  # a timer subscribes, a transition closes
        self._closed = False
        self._held: list[ReceivedImage] = []
        self._patience: Timer | None = None  # runs while images are held; they are held once
        self._waited = False
        self._crowd = 0  # looks at the graph in succession that showed several publishers
        self._recent: deque[bool] = deque(maxlen=RECENT)  # whether images could be used
        self._decoder = ImageDecoder(config.image, self._say)
        self._size = ""
        if config.pose.use_camera_info:
            self._info_subscription = node.create_subscription(
                CameraInfo, self.info_topic, self._on_info, qos.camera_info(), callback_group=self._group
            )

    def discover(self) -> None:
        """Subscribe once the graph shows how, and anew when the publishers changed their type or QoS."""
        with self._lock:  # activation and the timer may look at once: one of them subscribes
            found = find(self._node, self.topic, self._config.image_transport, self._config.image_qos)
            if found is not None and found != self.subscribed and not self._closed:
                self._subscribe(found)
        self._look_for_others()
        if self.depth is not None:
            self.depth.discover()

    def _look_for_others(self) -> None:
        """Name the publishers of the topic when there are several; one that takes over from another is none."""
        topic = self.subscribed
        found = publishers(self._node, topic.name, topic.type) if topic is not None else []
        self._crowd = self._crowd + 1 if len(found) > 1 else 0
        if topic is None or not self._crowd:
            self.complaints.settle("several publishers", f"camera '{self.name}' has one publisher again")
        elif self._crowd > 1:
            text = (
                f"'{topic.name}' has {len(found)} publishers, whose images are mixed: {describe_all(found)}. "
                "Stop all but one, or give each a topic of its own in image_topics"
            )
            self.complaints.report("several publishers", text, once=True)

    def _subscribe(self, found: ImageTopic) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        depth = self._config.queue_size if self._config.queue_policy == "all" else 5
        self._subscription = self._node.create_subscription(
            CompressedImage if found.compressed else Image,
            found.name,
            self._on_image,
            qos.image_profile(found.reliability, depth),
            callback_group=self._group,
            qos_overriding_options=qos.overriding(self._node, found.name),
        )
        self.subscribed = found
        self._node.get_logger().info(
            f"camera '{self.name}': {found.name} ({found.type}, {found.reliability.name.lower()})"
            + ("; raw images over 512 KB may be lost" if _may_lose(found) else "")
        )

    def close(self) -> None:
        """Unsubscribe."""
        with self._lock:
            self._closed = True
            for subscription in (self._subscription, self._info_subscription):
                if subscription is not None:
                    self._node.destroy_subscription(subscription)
            self._stop_waiting()
        if self.depth is not None:
            self.depth.close()
        self.complaints.clear()

    def restart(self) -> None:
        """Count and select from the beginning, as after a reset."""
        self.counts = CameraCounts()
        self._recent.clear()
        self._selection.clear()
        if self.depth is not None:
            self.depth.restart()

    @property
    def rate(self) -> float:
        """Images per second over the last 20 and the time since."""
        if len(self._arrivals) < 2:
            return 0.0
        return (len(self._arrivals) - 1) / max(time.monotonic() - self._arrivals[0], 1e-9)

    @property
    def usable(self) -> bool:
        """Whether one of the last images could be used, or none has been judged yet."""
        return not self._recent or any(self._recent)

    def _on_info(self, info: CameraInfo) -> None:
        self.calibration.update(info)
        self.complaints.settle("no calibration")
        self._release()

    def _on_image(self, message: ImageMessage) -> None:
        clock = self._node.get_clock().now().nanoseconds
        received = ReceivedImage(message, self._frame_id(message), time.monotonic(), clock)
        self.last_arrival = received.arrival
        self._arrivals.append(self.last_arrival)
        self.counts.received += 1
        if not self._sink.accepting:
            self.counts.skipped += 1
            return
        if self._calibration_is_due():
            self._held.append(received)
            return
        self._release()
        self._take(received)

    def _calibration_is_due(self) -> bool:
        """Whether first images should wait: a CameraInfo is to come, so none should pass uncalibrated before it."""
        if self._waited or self.calibration.known or self._info_subscription is None:
            return False
        if self._held:
            return len(self._held) < MOST_HELD
        if not self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(self.info_topic)):
            return False
        with self._lock:
            if not self._closed:
                clock = Clock(clock_type=ClockType.STEADY_TIME)
                self._patience = self._node.create_timer(
                    CALIBRATION_PATIENCE, self._release, callback_group=self._group, clock=clock
                )
        return True

    def _release(self) -> None:
        """Take the images that were held; from now on none is."""
        if not self._held:
            return
        with self._lock:
            self._stop_waiting()
        held, self._held = self._held, []
        self._waited = True
        if not self.calibration.known:
            text = f"'{self.info_topic}' has a publisher but no message: images pass uncalibrated until one comes"
            self.complaints.report("no calibration", text)
        for received in held:
            self._take(received)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._node.destroy_timer(self._patience)
            self._patience = None

    def _say(self, text: str) -> None:
        self._node.get_logger().warning(f"camera '{self.name}': {text}")

    def _take(self, received: ReceivedImage) -> None:
        """Use an image now, later, or not at all, as its stamp tells."""
        header = max(0, nanoseconds(received.message.header.stamp))
        observed = self._sink.observe(self.name, None if self._config.stamp == "arrival" else header, received)
        if observed.jumped_to is not None:
            self._sink.time_jumped(f"images of camera '{self.name}' jumped back to {observed.jumped_to / 1e9:.3f} s")
            if not self.counts.received:  # a new map begins, with these images
                self.counts.received = len(observed.taken)
        self.counts.late += observed.late
        self._recent += [False] * observed.late
        for stamp, image in observed.taken:
            self._use(stamp, image)

    def _use(self, stamp: int, received: ReceivedImage) -> None:
        """Decode an image and hand it on, when it is wanted."""
        message = received.message
        if not self._selection.due(stamp, self._config.max_rate):
            self.counts.skipped += 1
            return
        try:
            decode = self._decoder.raw if isinstance(message, Image) else self._decoder.compressed
            pixels, intrinsics = self.calibration.apply(decode(message))
            check_smallest(pixels.shape[1], pixels.shape[0])
            if not self._selection.moved(pixels, self._config.min_motion):
                self.counts.skipped += 1
                return
            self._note_size(f"{pixels.shape[1]} x {pixels.shape[0]}")
            depth = None if self.depth is None else self.depth.expect(stamp, self.calibration.maps)
            self._sink.accept(CameraImage(stamp, received.frame_id, pixels, intrinsics, received.arrival, depth))
        except Exception as error:  # no image ends the node
            self.counts.refused += 1
            self._recent.append(False)
            kind = f"refused: {error.problem if isinstance(error, Spann3rError) else type(error).__name__}"
            text = f"image of '{self.topic}' refused: {reason(error)}"
            self.complaints.report(kind, text, error=error, lasts=EVENT, good_images=GOOD_IMAGES)
            return
        self._recent.append(True)
        self.complaints.went_well()
        self.last_stamp = stamp
        self._selection.take(stamp, pixels, self._config.min_motion)

    def _frame_id(self, message: ImageMessage) -> str:
        """The camera's frame as its images name it; a name made from the camera's when they do not."""
        named = frame_name(message.header.frame_id)
        if named:
            self.complaints.settle("no frame")
            return named
        frame_id = f"{self.name}_optical_frame"
        self.complaints.report("no frame", f"images of '{self.topic}' name no frame: '{frame_id}' is used", once=True)
        return frame_id

    def _note_size(self, size: str) -> None:
        if self._size not in ("", size):
            text = f"images of '{self.topic}' changed from {self._size} to {size} pixels"
            self.complaints.report("size", text, lasts=EVENT)
        self._size = size


def names_from_topics(topics: Sequence[str]) -> list[str]:
    """A name per camera: the namespace of its topic, or the whole topic where that would not tell them apart."""
    whole = [topic.strip("/~").removesuffix("/compressed").replace("/", "_") for topic in topics]
    folders = [topic.strip("/~").removesuffix("/compressed").rpartition("/")[0].replace("/", "_") for topic in topics]
    return folders if all(folders) and len(set(folders)) == len(folders) else whole


def _may_lose(topic: ImageTopic) -> bool:
    return topic.reliability == ReliabilityPolicy.BEST_EFFORT and not topic.compressed
