"""A ROS node that spins in a thread of its own, for programs that are no node themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions


@contextmanager
def background_node(name: str) -> Iterator[Node]:
    """The node, while the context lasts. Ctrl-C is left to the caller, who may still want to collect results."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(name)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        running = True
        while running:
            running = False
            try:
                executor.spin()
            except ExternalShutdownException:
                pass
            except InvalidHandle:
                running = True  # what the caller destroyed was on its way into the wait set, which is made anew

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(5.0)
        node.destroy_node()
        rclpy.try_shutdown()
