"""What surrounds the node under test: publishers, listeners and service clients in the test's own process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2

from spann3r_ros.frame import Frame

RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Robot:
    """A ROS node on its own context that spins in the background."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node: Node = rclpy.create_node("robot", context=self._context)
        self._group = ReentrantCallbackGroup()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(5.0)
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def collect(self, kind: type, topic: str, qos: QoSProfile = RELIABLE) -> list[Any]:
        """A list that grows with each message of the topic."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def publisher(self, kind: type, topic: str, qos: QoSProfile = RELIABLE, peers: int = 1) -> Publisher:
        """A publisher that ``peers`` subscriptions have found."""
        publisher = self.node.create_publisher(kind, topic, qos)
        self.wait(lambda: publisher.get_subscription_count() >= peers, f"a subscription to {topic}")
        return publisher

    def call(self, kind: Any, name: str, request: Any = None, timeout: float = 60.0) -> Any:
        """The answer of a service."""
        with self._client(kind, name, timeout) as client:
            future = client.call_async(kind.Request() if request is None else request)
            self.wait(future.done, f"the answer of {name}", timeout)
            return future.result()

    @contextlib.contextmanager
    def _client(self, kind: Any, name: str, timeout: float) -> Iterator[Any]:
        client = self.node.create_client(kind, name)
        try:
            assert client.wait_for_service(timeout), f"no service {name}"
            yield client
        finally:
            self.node.destroy_client(client)

    def synchronize(self, node: str = "/spann3r") -> None:
        """Return when the node under test knows all subscriptions made so far.

        Endpoints are announced in order, so an answer to a client that is younger than they are proves it. DDS drops an
        answer to a client that the node does not know yet ("client will not receive response"): then it is asked again.
        """
        asked: list[Any] = []
        with self._client(GetState, f"{node}/get_state", 60.0) as client:

            def is_answered() -> bool:
                if not asked or time.monotonic() - asked[-1][0] > 2.0:
                    asked.append((time.monotonic(), client.call_async(GetState.Request())))
                return any(future.done() for _, future in asked)

            self.wait(is_answered, f"an answer of {node}/get_state")

    def change_state(self, transition: int, node: str = "/spann3r") -> bool:
        """Ask the node for a transition of its lifecycle (a constant of ``Transition``); whether it was made."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def activate(self, node: str = "/spann3r") -> None:
        """Configure and activate a node that was started with ``autostart=False`` and now knows all that is here."""
        self.synchronize(node)
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            assert self.change_state(transition, node)

    def wait(self, condition: Callable[[], Any], what: str, timeout: float = 60.0) -> None:
        """Return when ``condition`` holds; the last message of a list that is still empty means: not yet."""
        end = time.monotonic() + timeout
        while not _holds(condition):
            assert time.monotonic() < end, f"waited {timeout} s for {what}"
            time.sleep(0.01)


def _holds(condition: Callable[[], Any]) -> bool:
    try:
        return bool(condition())
    except IndexError:
        return False


def image_message(frame: Frame, frame_id: str = "camera_optical_frame") -> Image:
    """An rgb8 image of a frame."""
    height, width = frame.image.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp = stamp(frame.stamp)
    message.header.frame_id = frame_id
    message.data.frombytes(frame.image.tobytes())
    return message


def stamp(nanoseconds: int) -> Time:
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def to_nanoseconds(time: Time) -> int:
    return int(time.sec) * 10**9 + int(time.nanosec)


def read_cloud(message: PointCloud2) -> NDArray[Any]:
    """The points by their declared fields, decoded by hand: (N,) or (h, w) with x, y, z, r, g, b, confidence."""
    assert len(message.data) == message.height * message.row_step
    assert message.row_step == message.width * message.point_step
    layout = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": ["<f4"] * len(message.fields),
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    assert all(field.datatype == field.FLOAT32 and field.count == 1 for field in message.fields)
    raw = np.frombuffer(message.data, layout)
    rgb = np.ascontiguousarray(raw["rgb"]).view(np.uint32)
    points = np.empty(
        len(raw), [(name, "f4") for name in ("x", "y", "z", "confidence")] + [(name, "u1") for name in "rgb"]
    )
    for name in ("x", "y", "z", "confidence"):
        points[name] = raw[name]
    points["r"], points["g"], points["b"] = rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255
    return points.reshape(message.height, message.width) if message.height > 1 else points
