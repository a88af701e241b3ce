"""Simulated time that jumps back: looped bags, restarted simulators."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter

from spann3r_ros.stamp_order import BACK


def on_backward_jump(node: Node, callback: Callable[[int], None]) -> object:
    """Call ``callback(now in ns)`` when simulated time jumps back; keep the returned handle as long as it should."""

    def jumped(_jump: TimeJump) -> None:
        callback(node.get_clock().now().nanoseconds)

    threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-BACK), on_clock_change=False)
    return node.get_clock().create_jump_callback(threshold, post_callback=jumped)


def uses_simulated_time(node: Node) -> bool:
    """Whether the node's time comes from /clock."""
    parameter = node.get_parameter("use_sim_time")
    return parameter.type_ == Parameter.Type.BOOL and bool(parameter.value)
