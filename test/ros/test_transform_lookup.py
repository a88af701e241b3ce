"""Looking up transforms with tf2_ros: the real one where it is installed, else a stand-in with its interface."""

from __future__ import annotations

import gc
import importlib
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.time import Time
from robot import LATCHED, Robot, to_nanoseconds
from tf2_msgs.msg import TFMessage

from spann3r_ros.errors import GeometryError
from spann3r_ros.ros.conversions import transform_message
from spann3r_ros.ros.transform_lookup import Tf2Transforms
from spann3r_ros.sim3 import Sim3

pytestmark = pytest.mark.ros_tool("tf2_ros", stand_in=True)


class LookupFailed(Exception):
    """As tf2_ros.TransformException."""


class Jumps:
    registered = 0

    def __init__(self) -> None:
        Jumps.registered += 1

    def unregister(self) -> None:
        Jumps.registered -= 1


class Buffer:
    """Keeps the last transform of each frame; ``node`` would get a service, and the whole tree is slow to ask for."""

    def __init__(self, node: Node | None = None) -> None:
        assert node is None, "its service would stay"
        self._moving: dict[str, TransformStamped] = {}
        self._static: dict[str, TransformStamped] = {}
        self.jump_handle = Jumps()

    def set_transform(self, transform: TransformStamped, _authority: str) -> None:
        self._moving[transform.child_frame_id] = transform

    def set_transform_static(self, transform: TransformStamped, _authority: str) -> None:
        self._static[transform.child_frame_id] = transform

    def clear(self) -> None:
        self._moving.clear()

    def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
        moving, static = self._moving.get(source), self._static.get(source)
        found = static or moving
        if found is None or found.header.frame_id != target:
            raise LookupFailed(f"{target} {source}")
        if not static and time.nanoseconds not in (0, to_nanoseconds(found.header.stamp)):  # 0: the latest
            raise LookupFailed("extrapolation")
        return found


class TransformListener:
    def __init__(self, buffer: Any, node: Node, *, spin_thread: bool) -> None:
        assert not spin_thread
        self._node = node
        self._made = [
            node.create_subscription(TFMessage, "/tf", lambda m: self._each(m, buffer.set_transform), 100),
            node.create_subscription(
                TFMessage, "/tf_static", lambda m: self._each(m, buffer.set_transform_static), LATCHED
            ),
        ]

    @staticmethod
    def _each(message: TFMessage, take: Any) -> None:
        for transform in message.transforms:
            take(transform, "default_authority")

    def unregister(self) -> None:
        for made in self._made:
            self._node.destroy_subscription(made)


@pytest.fixture
def tf2_ros() -> Any:
    try:
        return importlib.import_module("tf2_ros")
    except ImportError:
        return SimpleNamespace(Buffer=Buffer, TransformListener=TransformListener, TransformException=LookupFailed)


@pytest.fixture
def node(domain: int) -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    made = Node("looks_up", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(made)
    made.spin_some = lambda: executor.spin_once(timeout_sec=0.05)
    yield made
    executor.shutdown()
    made.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.fault("ROS tools")
def test_parents_are_known_without_the_whole_tree_and_moving_frames_are_forgotten(
    tf2_ros: Any, node: Any, robot: Robot
) -> None:
    before = list(node.services)
    transforms = Tf2Transforms(node, tf2_ros)
    moving, static = robot.publisher(TFMessage, "/tf"), robot.publisher(TFMessage, "/tf_static", LATCHED)
    step = Sim3(rotation=np.eye(3), translation=np.array([1.0, 2.0, 3.0]))
    moving.publish(TFMessage(transforms=[transform_message(5_000_000_000, "odom", "base_link", step)]))
    static.publish(TFMessage(transforms=[transform_message(0, "base_link", "camera", step)]))

    def heard() -> bool:
        node.spin_some()
        return transforms.parent("camera") == "base_link" and transforms.parent("base_link") == "odom"

    robot.wait(heard, "both transforms")
    assert transforms.parent("odom") is None and transforms.parent("unknown") is None
    assert transforms.lookup("odom", "base_link", 5_000_000_000).translation.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(GeometryError, match="no transform between 'odom' and 'base_link'"):
        transforms.lookup("odom", "base_link", -1)
    with pytest.raises(GeometryError, match=r"no transform between 'moon' and 'camera'.*moon"):
        transforms.lookup("moon", "camera", 5_000_000_000)
    with pytest.raises(GeometryError):
        transforms.lookup("odom", "base_link", 0)  # which is no word for the latest
    transforms.clear()
    assert transforms.parent("base_link") is None and transforms.parent("camera") == "base_link"
    with pytest.raises(GeometryError):
        transforms.lookup("odom", "base_link", 5_000_000_000)
    assert transforms.lookup("base_link", "camera", 1).translation.tolist() == [1.0, 2.0, 3.0]
    transforms.close()
    assert list(node.services) == before and not list(node.subscriptions) and Jumps.registered == 0


@pytest.mark.fault("ROS tools")
def test_no_session_leaves_a_service_a_subscription_or_a_buffer_behind(tf2_ros: Any, node: Any) -> None:
    before, buffers = [service.srv_name for service in node.services], []
    for _ in range(3):
        transforms = Tf2Transforms(node, tf2_ros)
        buffers.append(weakref.ref(transforms._buffer))
        assert [service.srv_name for service in node.services] == before, "no tf2_frames"
        transforms.close()
        del transforms
    gc.collect()
    assert [reference() for reference in buffers] == [None] * 3
    assert not list(node.subscriptions)
