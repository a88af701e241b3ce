"""What the node costs around the network: overhead of a frame, the largest rate without drops, latency in a flood."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.msg import ReconstructionStatus
from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import camera_info_message, header
from spann3r_ros.ros.replay.result_recorder import ResultRecorder, wait_for

TARGET, FRAME = "/spann3r", "camera_optical_frame"

STATUS_RATE = 5.0
"""Statuses a second of the node that is measured. One is waited for, since it tells the network's time; at 30 a second
several would fall into each frame, and be a good part of what is measured."""

PATIENCE = 60.0
"""Seconds until the node must be active, and in which a single image must be answered."""

WARM_UP = 20
"""Images before the first that counts."""

FASTEST = 60.0
"""Images a second of the flood, and the largest rate that is tried."""

CLOSE = 1.05
"""The search for the largest rate ends when the bounds are nearer to each other than this factor."""

REPEATED = 2
"""Trials of a rate, of which one must pass: another program's burst of work is not the node's limit."""


def node_parameters(cameras: int = 1) -> dict[str, str]:
    """Of the node that is measured: all else as it is by default."""
    return {"image_topics": f"[{', '.join(map(_topic, range(cameras)))}]", "status_rate": str(STATUS_RATE)}


class NodeBenchmark:
    """Cameras, and somebody who reads the clouds.

    Args:
        node: publishes and subscribes; somebody else spins it.
        images: of a camera that goes there and back, (H, W, 3) uint8 RGB each.
        intrinsics: of the images.
        cameras: that send them in turn.
    """

    def __init__(
        self, node: Node, images: Sequence[NDArray[np.uint8]], intrinsics: Intrinsics, cameras: int = 1
    ) -> None:
        self._node, self._intrinsics = node, intrinsics
        self._messages = itertools.cycle([*map(_message, images), *map(_message, images[-2:0:-1])])
        self._results = ResultRecorder(node, TARGET)
        self._sent: dict[int, float] = {}
        self._arrived: dict[int, float] = {}
        self._network: dict[int, float] = {}
        self._status: Any = None
        topics = [_topic(number) for number in range(cameras)]
        self._cameras = [node.create_publisher(Image, topic, qos.live()) for topic in topics]
        self._infos = [
            node.create_publisher(CameraInfo, topic.replace("image_raw", "camera_info"), qos.live()) for topic in topics
        ]
        self._turns = itertools.cycle(range(cameras))
        # As bytes: Python takes longer to unpack a cloud than the node takes to make it.
        node.create_subscription(PointCloud2, f"{TARGET}/cloud", self._on_cloud, qos.live(), raw=True)
        node.create_subscription(ReconstructionStatus, f"{TARGET}/status", self._on_status, qos.live())

    def wait(self) -> None:
        """Until the node is there and has heard of every camera."""
        self._results.synchronize(PATIENCE)
        wait_for(lambda: all(camera.get_subscription_count() for camera in self._cameras), PATIENCE)

    def overhead(self, count: int) -> dict[str, float]:
        """Milliseconds of a frame that the node spends outside of the network's step, ``p50`` and ``p95``.

        From before an image is published until a cloud has arrived, both transports included, less the time of the step
        that the node says (``inference_time``). Images come one at a time, so that none waits for another.

        Raises:
            DataError: the node does not answer.
        """
        found, network = list[float](), list[float]()
        for number in range(WARM_UP + count):
            before = len(self._arrived)
            stamp = self._send()
            if number == 0:
                wait_for(lambda: self._counted().frames_processed > 0, PATIENCE)
                continue
            # The answer to this image is about the one before it.
            if not wait_for(lambda before=before: len(self._arrived) > before, PATIENCE):  # type: ignore[misc]
                raise DataError(f"node {TARGET} does not answer", got=f"no cloud within {PATIENCE:g} s")
            took = max(self._arrived.values()) - self._sent[stamp]
            wait_for(lambda number=number: number in self._network, PATIENCE)  # type: ignore[misc]
            if number >= WARM_UP:
                found.append(took - self._network[number])
                network.append(self._network[number])
        p50, p95 = (1000 * np.percentile(found, [50, 95])).tolist()
        return {"p50": p50, "p95": p95, "network_p50": 1000 * float(np.median(network)), "frames": len(found)}

    def largest_rate(self, seconds: float, told: Callable[[float, bool], None] = lambda *_: None) -> float:
        """Images a second that the node takes without dropping one; 0 where it drops at one a second.

        Args:
            seconds: that each rate is tried for, with twenty images at least.
            told: called with each rate and whether it was taken.
        """
        low, high = 1.0, FASTEST
        if self._is_taken(high, seconds, told):
            return high
        if not self._is_taken(low, seconds, told):
            return 0.0
        while high / low > CLOSE:
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self._is_taken(middle, seconds, told) else (low, middle)
        return low

    def flood(self, seconds: float, rate: float = FASTEST) -> dict[str, float]:
        """Milliseconds from an image of a flood to the cloud about it, ``p50`` and ``p99``, and clouds a second."""
        self._drain()
        known = set(self._arrived)
        begin = self._play(rate, round(seconds * rate))
        answered = [stamp for stamp in self._arrived if stamp not in known and stamp >= begin]
        if not answered:
            raise DataError(f"node {TARGET} does not answer", got=f"no cloud in {seconds:g} s of images")
        latencies = [self._arrived[stamp] - self._sent[stamp] for stamp in answered]
        p50, p99 = (1000 * np.percentile(latencies, [50, 99])).tolist()
        return {"p50": p50, "p99": p99, "answers_per_second": len(answered) / seconds}

    def _is_taken(self, rate: float, seconds: float, told: Callable[[float, bool], None]) -> bool:
        taken = any(self._loses_nothing(rate, seconds) for _ in range(REPEATED))
        told(rate, taken)
        return taken

    def _loses_nothing(self, rate: float, seconds: float) -> bool:
        self._drain()
        before, count = self._counted(), max(20, round(rate * seconds))
        self._play(rate, count)
        self._drain()
        after = self._counted()
        lost = after.frames_dropped - before.frames_dropped + after.frames_late - before.frames_late
        return bool(lost == 0 and after.frames_processed - before.frames_processed >= count)

    def _play(self, rate: float, count: int) -> int:
        """Send images at a rate; returns the stamp of the first."""
        begin, stamps = time.monotonic(), list[int]()
        for number in range(count):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            stamps.append(self._send())
        return stamps[0]

    def _drain(self) -> None:
        """Wait until the node has nothing to do and has said so."""
        quiet, seen = time.monotonic(), (-1, -1)
        while time.monotonic() < quiet + 0.5:
            status = self._counted()
            state = (status.frames_processed, status.frames_received)
            if state != seen or status.queue_length:
                quiet, seen = time.monotonic(), state
            time.sleep(0.02)

    def _counted(self) -> Any:
        """The newest status."""
        if not wait_for(lambda: self._status is not None, PATIENCE):
            raise DataError(f"node {TARGET} tells no status", got=f"{PATIENCE:g} s of waiting")
        return self._status

    def _send(self) -> int:
        message, number = next(self._messages), next(self._turns)
        stamp, frame = int(self._node.get_clock().now().nanoseconds), f"{FRAME}_{number}"
        message.header = header(stamp, frame)
        self._infos[number].publish(camera_info_message(stamp, frame, self._intrinsics))
        self._sent[stamp] = time.monotonic()
        self._cameras[number].publish(message)
        return stamp

    def _on_cloud(self, content: bytes) -> None:
        seconds, nanoseconds = struct.unpack_from("<iI", content, 4)  # behind the four bytes that name the encoding
        self._arrived[seconds * 1_000_000_000 + nanoseconds] = time.monotonic()

    def _on_status(self, message: Any) -> None:
        self._status = message
        if message.frames_processed:
            self._network[message.frame_index] = message.inference_time


def _topic(number: int) -> str:
    return f"/camera_{number}/image_raw"


def _message(image: NDArray[np.uint8]) -> Image:
    height, width = image.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.data.frombytes(image.tobytes())
    return message
