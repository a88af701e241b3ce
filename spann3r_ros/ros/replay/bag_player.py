"""Playing recorded messages into the graph: their CDR bytes go out as they are, nothing is decoded."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from spann3r_ros.errors import DataError
from spann3r_ros.ros import qos

CLOCK_STEP = 1_000_000
"""Nanoseconds of recorded time between two messages on /clock."""


class BagPlayer:
    """Publishers for the topics of a recording.

    Args:
        node: which publishes; somebody else spins it.
        topics: (name, type) of each topic, types as ``sensor_msgs/msg/Image``.
        remap: other names for topics.
        clock: whether recorded time goes out on /clock, for nodes with ``use_sim_time``.

    Attributes:
        unplayable: why a topic is not played, by name: its type is not installed here.
    """

    def __init__(
        self, node: Node, topics: Iterable[tuple[str, str]], remap: Mapping[str, str], clock: bool = True
    ) -> None:
        self._publishers: dict[str, Any] = {}
        self._latched: set[str] = set()
        self._clock = node.create_publisher(Clock, "/clock", qos.live()) if clock else None
        self._last_tick = -CLOCK_STEP
        self.unplayable: dict[str, str] = {}
        for name, kind in topics:
            try:
                message_type = _message_type(kind)
            except (ImportError, AttributeError, ValueError) as error:
                self.unplayable[name] = f"type {kind}: {error}"
                continue
            if name == "/tf_static":
                self._latched.add(name)
            profile = qos.latched(qos.TF_DEPTH) if name in self._latched else qos.live(100)
            self._publishers[name] = node.create_publisher(message_type, remap.get(name, name), profile)

    def wait_for_subscriber(self, topic: str, seconds: float) -> None:
        """Return when somebody subscribes to a topic of the recording; raises DataError after ``seconds``."""
        if topic not in self._publishers:
            raise DataError(f"topic {topic} cannot be played", got=self.unplayable.get(topic, "not in the recording"))
        publisher = self._publishers[topic]
        end = time.monotonic() + seconds
        while publisher.get_subscription_count() == 0:
            if time.monotonic() > end:
                raise DataError(
                    f"nobody subscribes to {publisher.topic_name}",
                    got=f"{seconds:g} s of waiting",
                    expected="the running node",
                    next_step="Start the node with that image topic, or choose another name with --remap FROM:=TO",
                )
            self.tick_if_idle()
            time.sleep(0.02)

    def publish(self, topic: str, recorded: int, data: bytes) -> bool:
        """Send one message, recorded at ``recorded`` (ns); whether anybody wanted it.

        What nobody subscribes to is not sent; latched topics are kept for those who come later.
        """
        self.tick(recorded)
        publisher = self._publishers.get(topic)
        if publisher is None or (topic not in self._latched and publisher.get_subscription_count() == 0):
            return False
        publisher.publish(data)
        return True

    def tick(self, now: int) -> None:
        """Say on /clock that it is ``now`` (ns of recorded time), when that is later than what was said."""
        if self._clock is None or now < self._last_tick + CLOCK_STEP:
            return
        self._last_tick = now
        seconds, nanoseconds = divmod(now, 1_000_000_000)
        self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def tick_if_idle(self, step: int = 20_000_000) -> None:
        """Let recorded time go on by ``step`` ns after it has begun, so that timers of the node run while we wait."""
        if self._last_tick >= 0:
            self.tick(self._last_tick + step)


def _message_type(kind: str) -> Any:
    """The class of a type's name."""
    package, _, name = kind.partition("/msg/")
    if not name:
        raise ValueError("not the name of a message type")
    return getattr(importlib.import_module(f"{package}.msg"), name)
