"""A robot with a camera around the running node: what it publishes, and what it asks the node for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from spann3r_ros.frame import Intrinsics
from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import camera_info_message, header

RAW, JPEG = "/camera/image_raw", "/jpeg/image_raw"
TARGET = "/spann3r"
FRAME = "camera_optical_frame"

PATIENCE = 60.0
"""Seconds in which every request must be answered."""


class FaultyRobot:
    """Publishers and clients; somebody else spins the node.

    Args:
        node: which publishes and asks.
        images: (H, W, 3) uint8 RGB each, of a camera that goes there and back.
        intrinsics: of the images.

    Attributes:
        sent: monotonic time in seconds when a good image was sent, by its stamp (ns).
        unanswered: names of services that did not answer within ``PATIENCE``.
    """

    def __init__(self, node: Node, images: Sequence[NDArray[np.uint8]], intrinsics: Intrinsics) -> None:
        self.node, self.images, self._intrinsics = node, images, intrinsics
        self._next = itertools.cycle([*images, *images[-2:0:-1]])
        self._clients: dict[tuple[Any, str], Any] = {}
        self._pending: list[tuple[str, float, Future[Any]]] = []
        self.sent: dict[int, float] = {}
        self.unanswered: list[str] = []
        self.info = node.create_publisher(CameraInfo, "/camera/camera_info", qos.live())
        self.jpeg = node.create_publisher(CompressedImage, f"{JPEG}/compressed", qos.live())
        self.transforms = node.create_publisher(TFMessage, "/tf", qos.live())
        self.raw = node.create_publisher(Image, RAW, qos.live())

    def now(self) -> int:
        """ROS time in nanoseconds."""
        return int(self.node.get_clock().now().nanoseconds)

    def replace_camera(self, profile: QoSProfile) -> None:
        """End the camera's publisher and begin another."""
        self.node.destroy_publisher(self.raw)
        self.raw = self.node.create_publisher(Image, RAW, profile)

    def send_good(self) -> None:
        """The next image of the walk, as it should be, and its calibration."""
        stamp = self.now()
        self.sent[stamp] = time.monotonic()
        self.info.publish(camera_info_message(stamp, FRAME, self._intrinsics))
        self.send(self.image(), stamp)

    def image(self) -> NDArray[np.uint8]:
        """The next one of the walk."""
        return next(self._next)

    def send(self, image: NDArray[np.uint8], stamp: int, **changes: Any) -> None:
        """An image on the raw topic, with some fields of its message changed."""
        height, width = image.shape[:2]
        message = Image(header=header(max(0, stamp), FRAME), height=height, width=width, encoding="rgb8")
        message.step = 3 * width
        message.data.frombytes(image.tobytes())
        for name, value in changes.items():
            setattr(message, name, value)
        self.raw.publish(message)

    def send_jpeg(self, content: bytes, stamp: int, form: str = "jpeg") -> None:
        """An image on the compressed topic."""
        message = CompressedImage(header=header(stamp, FRAME), format=form)
        message.data.frombytes(content)
        self.jpeg.publish(message)

    def encoded(self) -> bytes:
        """The next image of the walk as JPEG."""
        return bytes(cv2.imencode(".jpg", self.image())[1].tobytes())

    def call(self, kind: Any, name: str, request: Any = None) -> Any:
        """The answer of a service of the node; None, and a note, when none comes in time."""
        future = self.ask(kind, name, request)
        self.wait(future.done)
        return future.result() if future.done() else None

    def ask(self, kind: Any, name: str, request: Any = None) -> Future[Any]:
        """Ask and do not wait; ``settle`` notes whether the answer came."""
        key = (kind, f"{TARGET}/{name}")
        client = self._clients.get(key) or self._clients.setdefault(key, self.node.create_client(*key))
        client.wait_for_service(PATIENCE)
        future: Future[Any] = client.call_async(kind.Request() if request is None else request)
        self._pending.append((name, time.monotonic() + PATIENCE, future))
        return future

    def settle(self, final: bool = False) -> None:
        """Note requests that were not answered in time; at the end, after the time that they have left."""
        if final:
            self.wait(lambda: all(future.done() for _, _, future in self._pending))
        now = time.monotonic()
        for name, deadline, future in self._pending:
            if not future.done() and (final or now > deadline):
                self.unanswered.append(name)
                future.cancel()
        self._pending = [entry for entry in self._pending if not entry[2].done()]

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Whether it came true within ``PATIENCE``."""
        end = time.monotonic() + PATIENCE
        while not condition() and time.monotonic() < end:
            time.sleep(0.01)
        return condition()

    def state(self) -> str:
        """Of the node's lifecycle; empty when it does not say."""
        answer = self.call(GetState, "get_state")
        return "" if answer is None else str(answer.current_state.label)

    def change_state(self, transition: int) -> None:
        """Ask for a transition, possible or not."""
        self.call(ChangeState, "change_state", ChangeState.Request(transition=Transition(id=transition)))

    def activate(self) -> bool:
        """Whether the node could be brought back to work from whatever state it is in."""
        if self.state() == "unconfigured":
            self.change_state(Transition.TRANSITION_CONFIGURE)
        if self.state() == "inactive":
            self.change_state(Transition.TRANSITION_ACTIVATE)
        return self.state() == "active"
