"""Says why nothing happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rclpy.node import Node
from rclpy.parameter import Parameter

from spann3r_ros.config import NodeConfig
from spann3r_ros.ros.camera_input import CameraInput
from spann3r_ros.ros.image_topic import explain_silence


class Watchdog:
    """One warning per camera and silence: which topic, who publishes it, type and QoS, and the likely fix.

    Args:
        node: asked about the graph.
        config: ``silence_timeout`` and the input parameters.
        cameras: those that should deliver.
        waiting: whether images are wanted now.

    Attributes:
        silent: the explanation of each silent camera, by name.
    """

    def __init__(
        self, node: Node, config: NodeConfig, cameras: Iterable[CameraInput], waiting: Callable[[], bool]
    ) -> None:
        self._node, self._config, self._waiting = node, config, waiting
        self._cameras = list(cameras)
        self.silent: dict[str, str] = {}

    def check(self) -> None:
        """Warn about cameras that have been silent too long; call it about once a second of real time."""
        timeout = self._config.silence_timeout
        if timeout <= 0 or not self._waiting():
            self.silent.clear()
            return
        for camera in self._cameras:
            silence = time.monotonic() - camera.last_arrival
            if silence < timeout:
                if self.silent.pop(camera.name, None) is not None:
                    self._node.get_logger().info(f"camera '{camera.name}': images arrive again")
            elif camera.name not in self.silent:
                reason = explain_silence(self._node, camera.topic, self._config.image_transport, camera.subscribed)
                text = f"no image from camera '{camera.name}' for {silence:.0f} s: {reason}"
                self.silent[camera.name] = text + self._clock_hint()
                self._node.get_logger().warning(self.silent[camera.name])

    def _clock_hint(self) -> str:
        simulated = self._node.get_parameter("use_sim_time").type_ == Parameter.Type.BOOL and bool(
            self._node.get_parameter("use_sim_time").value
        )
        if simulated and not self._node.count_publishers("/clock"):
            return ". use_sim_time is true but nobody publishes /clock (ros2 bag play --clock)"
        return ""
