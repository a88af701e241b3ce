"""Says why nothing happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rclpy.node import Node

from spann3r_ros.complaints import Severity
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.ros.camera_input import CameraInput
from spann3r_ros.ros.clock import uses_simulated_time
from spann3r_ros.ros.image_topic import explain_silence


class Watchdog:
    """One complaint per camera and silence: which topic, who publishes it, type and QoS, and the likely fix.

    Args:
        node: asked about the graph.
        config: ``silence_timeout`` and the input parameters.
        cameras: those that should deliver.
        waiting: whether images are wanted now.
    """

    def __init__(
        self, node: Node, config: NodeConfig, cameras: Iterable[CameraInput], waiting: Callable[[], bool]
    ) -> None:
        self._node, self._config, self._waiting = node, config, waiting
        self._cameras = list(cameras)
        self._silent: set[str] = set()

    def check(self) -> None:
        """Complain about cameras that have been silent too long; call it about once a second of real time."""
        timeout = self._config.silence_timeout
        if timeout <= 0 or not self._waiting():
            for camera in self._cameras:
                camera.complaints.settle("silence")
            self._silent.clear()
            return
        for camera in self._cameras:
            silence = time.monotonic() - camera.last_arrival
            if silence < timeout:
                camera.complaints.settle("silence", f"camera '{camera.name}': images arrive again")
                self._silent.discard(camera.name)
                if camera.depth is not None:  # with a camera that is silent itself, one line is enough
                    camera.depth.look_for_silence(timeout)
            elif camera.name not in self._silent:
                reason = explain_silence(self._node, camera.topic, self._config.image_transport, camera.subscribed)
                text = f"no image from camera '{camera.name}' for {silence:.0f} s: {reason}"
                camera.complaints.report("silence", text + self._clock_hint(), Severity.ERROR)
                self._silent.add(camera.name)

    def _clock_hint(self) -> str:
        if uses_simulated_time(self._node) and not self._node.count_publishers("/clock"):
            return ". use_sim_time is true but nobody publishes /clock (ros2 bag play --clock)"
        return ""
