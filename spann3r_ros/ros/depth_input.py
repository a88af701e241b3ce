"""Measured depth of one camera: kept by stamp, found for its images, given to frames when the network takes them."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from spann3r_ros.complaints import EVENT, Complaints, reason
from spann3r_ros.errors import Spann3rError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.camera_info import is_rectified
from spann3r_ros.geometry.depth_fitting import fit_depth
from spann3r_ros.geometry.image import decode_depth
from spann3r_ros.geometry.rectification import Rectification
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import nanoseconds
from spann3r_ros.ros.image_topic import RAW, ImageTopic, describe_all, find
from spann3r_ros.worker import FrameProcessor

NO_DEPTH = "none"
"""In ``depth_topics``: a camera without."""

KEPT = 30
"""Messages that are kept for images that come after them."""

ALIVE = 1.0
"""Seconds after a message in which an image waits for its own: a topic that stopped delays nothing."""

MOST_APART = 10
"""Images in succession for which messages came, but none near their stamps, until that is told."""


@dataclass(eq=False)
class ExpectedDepth:
    """The depth of one image, which may come after it.

    Attributes:
        source: where it comes from.
        stamp: of the image, in nanoseconds.
        maps: what rectified the image, where its depth must be rectified likewise.
        message: the nearest so far, not decoded; None while there is none.
        gap: nanoseconds between its stamp and the image's.
    """

    source: DepthInput
    stamp: int
    maps: Rectification | None
    message: Image | None = None
    gap: float = float("inf")

    def offer(self, stamp: int, message: Image, most: float) -> None:
        """Take a message of a stamp (ns) that is nearer than the one before, and not farther than ``most``."""
        gap = abs(stamp - self.stamp)
        if gap < self.gap and gap <= most:
            self.message, self.gap = message, gap

    def take(self, height: int, width: int) -> NDArray[np.float32] | None:
        """As of its source's ``take``."""
        return self.source.take(self, height, width)


class DepthInput:
    """Subscribes to the depth of one camera; its callback only keeps messages, whoever takes a frame decodes.

    Args:
        node: where the subscription is made.
        config: the node's parameters; live ones are read anew for each message.
        topic: of the depth.
        complaints: of the camera.

    Attributes:
        topic: as given.
        found, lacking: images that went to the network with depth, and without.
        last_arrival: monotonic time in seconds of the last message; the silence begins now.
    """

    def __init__(self, node: Node, config: NodeConfig, topic: str, complaints: Complaints) -> None:
        self._node, self._config, self.topic, self._complaints = node, config, topic, complaints
        self._rectified = is_rectified(topic)
        self.found = self.lacking = 0
        self.last_arrival = time.monotonic()
        self._apart = 0  # images in succession that no message was near to
        self._newest: int | None = None  # stamp of the last message, in the order of arrival
        self._kept: deque[tuple[int, Image]] = deque(maxlen=KEPT)
        self._expected: WeakSet[ExpectedDepth] = WeakSet()  # those of dropped images vanish with them
        self._changed = threading.Condition()
        self._group = MutuallyExclusiveCallbackGroup()  # beside the images', so that neither waits for the other
        self._subscription: Subscription[Any] | None = None
        self.subscribed: ImageTopic | None = None
        self._closed = False

    @property
    def _tolerance(self) -> float:
        """Nanoseconds between the stamps of an image and its depth."""
        return self._config.depth_max_age * 1e9

    def discover(self) -> None:
        """Subscribe once the graph shows how, and anew when the publishers changed their QoS."""
        with self._changed:
            found = find(self._node, self.topic, "raw", self._config.image_qos)
            if found is None or found == self.subscribed or self._closed:
                return
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
            profile = qos.image_profile(found.reliability, KEPT)
            overriding = qos.overriding(self._node, found.name)
            self._subscription = self._node.create_subscription(
                *(Image, found.name, self._on_depth, profile),
                callback_group=self._group,
                qos_overriding_options=overriding,
            )
            self.subscribed = found
        self._node.get_logger().info(f"depth: {found.name} ({found.reliability.name.lower()})")

    def close(self) -> None:
        """Unsubscribe; nobody waits any more."""
        with self._changed:
            self._closed = True
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
            self._kept.clear()
            self._changed.notify_all()

    def restart(self) -> None:
        """Count from the beginning; what is kept stays, for it may be of the new time already."""
        self.found = self.lacking = self._apart = 0

    def expect(self, stamp: int, maps: Rectification | None) -> ExpectedDepth:
        """The depth of an image of a stamp (ns), which ``maps`` rectified; messages that are still to come count."""
        expected = ExpectedDepth(self, stamp, None if self._rectified else maps)
        with self._changed:
            for kept in self._kept:
                expected.offer(*kept, self._tolerance)
            self._expected.add(expected)
        return expected

    def take(self, expected: ExpectedDepth, height: int, width: int) -> NDArray[np.float32] | None:
        """(height, width) float32 meters for ``Frame.depth``; None where there is none or it cannot be used.

        Waits ``depth_max_age`` at most, and only while messages come and none is as new as the image.
        """
        with self._changed:
            if self._is_alive():
                self._changed.wait_for(lambda: self._has_come(expected), self._config.depth_max_age)
            self._expected.discard(expected)
            message = expected.message
            if self._closed:
                return None
        depth = None if message is None else self._decoded(message, expected.maps, height, width)
        self._count(expected, depth is not None)
        return depth

    def look_for_silence(self, timeout: float) -> None:
        """Say once that nothing came for ``timeout`` seconds, and who publishes what."""
        silence = time.monotonic() - self.last_arrival
        if silence < timeout:
            return
        name = self._node.resolve_topic_name(self.topic)
        publishers = self._node.get_publishers_info_by_topic(name)
        seen = f"published: {describe_all(publishers)}" if publishers else "nobody publishes it"
        text = (
            f"no depth from '{name}' for {silence:.0f} s, so images pass without: {seen}; needed is {RAW} "
            "(parameter depth_topics)"
        )
        self._complaints.report("no depth", text, once=True)

    def _on_depth(self, message: Image) -> None:
        by_arrival = self._config.stamp == "arrival"
        now = self._node.get_clock().now().nanoseconds
        stamp = now if by_arrival else max(0, nanoseconds(message.header.stamp))
        with self._changed:
            self.last_arrival = time.monotonic()
            self._newest = stamp
            self._kept.append((stamp, message))
            for expected in self._expected:
                expected.offer(stamp, message, self._tolerance)
            self._changed.notify_all()
        self._complaints.settle("no depth", f"depth of '{self.topic}' arrives again")

    def _is_alive(self) -> bool:
        return self._newest is not None and time.monotonic() - self.last_arrival < ALIVE

    def _has_come(self, expected: ExpectedDepth) -> bool:
        """Whether no nearer message can come: they come in order."""
        return self._closed or (self._newest is not None and self._newest >= expected.stamp)

    def _decoded(
        self, message: Image, maps: Rectification | None, height: int, width: int
    ) -> NDArray[np.float32] | None:
        size, step = (int(message.height), int(message.width)), int(message.step)
        try:
            depth = decode_depth(message.data, message.encoding, *size, step, bool(message.is_bigendian))
            return fit_depth(depth, height, width, maps)
        except Exception as error:  # the image goes on without
            kind = f"depth refused: {error.problem if isinstance(error, Spann3rError) else type(error).__name__}"
            text = f"depth of '{self.topic}' refused, so images pass without: {reason(error)} (parameter depth_topics)"
            self._complaints.report(kind, text, error=error, lasts=EVENT, once=True)
            return None

    def _count(self, expected: ExpectedDepth, has_depth: bool) -> None:
        self.found += has_depth
        self.lacking += not has_depth
        self._apart = 0 if expected.message is not None or not self._is_alive() else self._apart + 1
        if not self._apart:
            self._complaints.settle("depth apart")
        elif self._apart >= MOST_APART and self._newest is not None:
            text = (
                f"depth of '{self.topic}' has other stamps than the images: the last one differs by "
                f"{(self._newest - expected.stamp) / 1e9:+.3f} s, {self._config.depth_max_age:g} s are allowed "
                "(parameter depth_max_age)"
            )
            self._complaints.report("depth apart", text, once=True)


class WithDepth:
    """Drives a reconstruction with frames that carry the depth that was measured for them, where there is some.

    Args:
        reconstruction: takes the frames.
        told: whether the model may be told depth now.
    """

    def __init__(self, reconstruction: FrameProcessor, told: Callable[[], bool]) -> None:
        self._reconstruction, self._told = reconstruction, told
        self._expected: WeakKeyDictionary[Frame, ExpectedDepth] = WeakKeyDictionary()

    def expect(self, frame: Frame, depth: ExpectedDepth) -> None:
        """Remember where the depth of a frame comes from, as long as the frame waits."""
        self._expected[frame] = depth

    def process(self, frame: Frame) -> list[WorldPrediction]:
        """As of ``Reconstruction``. Depth often comes after its image, so it is taken as late as can be."""
        expected = self._expected.pop(frame, None)
        if expected is not None and self._told():
            depth = expected.take(*frame.image.shape[:2])
            frame = frame if depth is None else dataclasses.replace(frame, depth=depth)
        return self._reconstruction.process(frame)

    def reset(self) -> None:
        """As of ``Reconstruction``."""
        self._reconstruction.reset()
