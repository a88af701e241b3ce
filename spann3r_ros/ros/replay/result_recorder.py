"""Collecting what a running node publishes: when each image's result came, poses, the map, status, parameters."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from sensor_msgs.msg import Image, PointCloud2

from spann3r_ros.errors import DataError
from spann3r_ros.geometry.message_pose import pose_from_message
from spann3r_ros.msg import ReconstructionStatus
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import POINT, nanoseconds
from spann3r_ros.trajectory import StampedPose


@dataclass(frozen=True)
class Result:
    """That an image's result arrived.

    Attributes:
        arrival: seconds of ``time.monotonic``.
        confidence: mean over the image.
    """

    arrival: float
    confidence: float


class ResultRecorder:
    """Subscriptions to the outputs of a node.

    Args:
        node: which subscribes; somebody else spins it.
        target: name of the node that is listened to.
        clouds: whether every frame's ~/cloud is kept.

    Attributes:
        results: by stamp of the image (ns).
        poses: by stamp.
        statuses: (arrival, message), as they came.
        resets: how often the node began a new world meanwhile.
    """

    def __init__(self, node: Node, target: str, clouds: bool = False) -> None:
        self._node, self._target = node, target.rstrip("/")
        self.results: dict[int, Result] = {}
        self.poses: dict[int, StampedPose] = {}
        self.statuses: list[tuple[float, Any]] = []
        self.resets = 0
        self._map: PointCloud2 | None = None
        self._clouds: dict[int, PointCloud2] = {}
        live = qos.live(100)
        node.create_subscription(Image, f"{self._target}/confidence", self._on_confidence, live)
        node.create_subscription(PoseStamped, f"{self._target}/pose", self._on_pose, live)
        node.create_subscription(PointCloud2, f"{self._target}/map", self._on_map, qos.latched())
        node.create_subscription(ReconstructionStatus, f"{self._target}/status", self._on_status, live)
        if clouds:
            node.create_subscription(PointCloud2, f"{self._target}/cloud", self._on_cloud, live)

    def synchronize(self, seconds: float) -> None:
        """Return when the node is active and knows the subscriptions.

        Endpoints are announced in order, so its answer to a younger client proves that it knows them. Raises
        DataError when there is no such node, or it does not become active in time.
        """
        end = time.monotonic() + seconds
        while True:
            state = self._call(GetState, "get_state", GetState.Request(), seconds).current_state.label
            if state == "active":
                return
            if time.monotonic() > end:
                raise DataError(
                    f"node {self._target} is not active",
                    got=state,
                    expected=f"active within {seconds:g} s",
                    next_step=f"ros2 lifecycle set {self._target} activate, or raise --patience",
                )
            time.sleep(0.1)

    def parameters(self, seconds: float) -> dict[str, Any]:
        """All parameters of the node by name; lists as lists."""
        listed = self._call(ListParameters, "list_parameters", ListParameters.Request(), seconds)
        names = list(listed.result.names)
        answer = self._call(GetParameters, "get_parameters", GetParameters.Request(names=names), seconds)
        return {name: _plain(value) for name, value in zip(names, answer.values, strict=True)}

    def took(self, stamp: int) -> bool:
        """Whether the last status says that the image of this stamp is the newest, and none waits for the network."""
        status = self.statuses[-1][1] if self.statuses else None
        return status is not None and nanoseconds(status.last_image_stamp) == stamp and status.queue_length == 0

    def map_stamp(self) -> int:
        """Stamp of the newest image in the map that came last (ns); -1 before the first."""
        return -1 if self._map is None else nanoseconds(self._map.header.stamp)

    def cloud(self) -> PointCloud:
        """The map that came last; empty before the first."""
        if self._map is None:
            return PointCloud.empty()
        return _unpacked(self._map)

    def pointmap(self, stamp: int) -> tuple[PointCloud, tuple[int, int]] | None:
        """Cloud of a frame and its (height, width), pixels in raster order; points that the node did not send are NaN.

        None when there is none. Raises DataError when the node sends a list of points instead.
        """
        message = self._clouds.get(stamp)
        if message is None:
            return None
        if message.height == 1:
            raise DataError(
                f"{self._target}/cloud is a list of points",
                expected="one point per pixel",
                next_step="Set cloud to pointmap",
            )
        return _unpacked(message), (message.height, message.width)

    def _on_confidence(self, message: Image) -> None:
        values = np.frombuffer(message.data, np.float32)
        stamp = nanoseconds(message.header.stamp)
        self.results[stamp] = Result(time.monotonic(), float(values.mean()) if len(values) else 0.0)

    def _on_pose(self, message: PoseStamped) -> None:
        stamp = nanoseconds(message.header.stamp)
        pose = pose_from_message(message.pose.position, message.pose.orientation)
        self.poses[stamp] = StampedPose(len(self.poses), stamp, "", pose)

    def _on_map(self, message: PointCloud2) -> None:
        self._map = message

    def _on_cloud(self, message: PointCloud2) -> None:
        self._clouds[nanoseconds(message.header.stamp)] = message

    def _on_status(self, message: Any) -> None:
        if self.statuses and message.frames_processed < self.statuses[-1][1].frames_processed:
            self.resets += 1
        self.statuses.append((time.monotonic(), message))

    def _call(self, kind: Any, name: str, request: Any, seconds: float) -> Any:
        """The answer of a service of the node; somebody else spins. Raises DataError when none comes in time."""
        client: Any = self._node.create_client(kind, f"{self._target}/{name}")
        try:
            if client.wait_for_service(seconds):
                future = client.call_async(request)
                if wait_for(future.done, seconds):
                    return future.result()
        finally:
            self._node.destroy_client(client)
        raise DataError(
            f"node {self._target} does not answer",
            got=f"{seconds:g} s of waiting for {self._target}/{name}",
            next_step="Start it (ros2 launch spann3r_ros spann3r.launch.py), or name another with --node",
        )


def _unpacked(message: PointCloud2) -> PointCloud:
    """The points of a cloud that the node sent."""
    if message.point_step != POINT.itemsize:
        raise DataError(
            "layout of the node's cloud", got=message.point_step, expected=f"{POINT.itemsize} bytes a point"
        )
    packed = np.frombuffer(message.data, POINT)
    points = np.stack([packed[axis] for axis in "xyz"], axis=1)
    colors = np.stack([packed["rgb"] >> shift & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)
    return PointCloud(points, colors, packed["confidence"].copy())


def wait_for(condition: Callable[[], Any], seconds: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Whether the condition came true in time; ``meanwhile`` is called about every 10 ms."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        meanwhile()
        time.sleep(0.01)
    return True


def _plain(value: ParameterValue) -> Any:
    """A parameter's value in Python's own types; an empty name stands for an empty list."""
    plain = parameter_value_to_python(value)
    if isinstance(plain, str | bool | int | float) or plain is None:
        return plain
    return [item for item in plain if item != ""]
