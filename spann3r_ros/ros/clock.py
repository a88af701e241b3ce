"""Time that jumps back: looped bags, restarted simulators, and images that come out of order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum

from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node

JUMP = 200_000_000
"""Nanoseconds: an image older than its predecessor by more is a jump of time, by less an image out of order."""


class Arrival(Enum):
    """How an image's stamp fits to those before it."""

    NEXT = "next"
    LATE = "late"
    JUMP = "jump"


class StampOrder:
    """Tells whether time goes on, from the stamps of all cameras and the ROS clock. Thread-safe.

    One loop of a bag shows several times: once per camera and, with simulated time, on the clock. It counts once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[str, int] = {}
        self._behind: set[str] = set()  # cameras that have yet to follow a jump which another one showed

    def observe(self, camera: str, stamp: int) -> Arrival:
        """Judge the stamp (ns) of a new image; LATE is not newer than its predecessor, JUMP begins a new time."""
        with self._lock:
            latest = self._latest.get(camera)
            if latest is None or stamp > latest:
                self._latest[camera] = stamp
                return Arrival.NEXT
            if stamp > latest - JUMP:
                return Arrival.LATE
            self._latest[camera] = stamp
            if camera in self._behind:
                self._behind.discard(camera)
                return Arrival.NEXT
            self._behind = set(self._latest) - {camera}
            return Arrival.JUMP

    def clock_jumped_back(self, now: int) -> bool:
        """Judge a backward jump of the ROS clock to ``now`` (ns): whether it is news, no image having shown it yet."""
        with self._lock:
            ahead = {camera for camera, stamp in self._latest.items() if stamp > now + JUMP}
            news = bool(ahead - self._behind)
            for camera in ahead:
                del self._latest[camera]
            self._behind -= ahead
            return news

    def clear(self) -> None:
        """Forget all stamps."""
        with self._lock:
            self._latest.clear()
            self._behind.clear()


def on_backward_jump(node: Node, callback: Callable[[int], None]) -> object:
    """Call ``callback(now in ns)`` when simulated time jumps back; keep the returned handle as long as it should."""

    def jumped(_jump: TimeJump) -> None:
        callback(node.get_clock().now().nanoseconds)

    threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-JUMP), on_clock_change=False)
    return node.get_clock().create_jump_callback(threshold, post_callback=jumped)
