"""The robot's odometry as a topic: kept for some seconds, interpolated at the stamps of images."""

from __future__ import annotations

import threading
import time
from typing import Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.subscription import Subscription

from spann3r_ros.complaints import EVENT, Complaints
from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import frame_name
from spann3r_ros.geometry.message_pose import pose_from_message
from spann3r_ros.geometry.transform_tree import TransformTree
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import nanoseconds
from spann3r_ros.ros.image_topic import describe_all
from spann3r_ros.ros.transform_lookup import Transforms
from spann3r_ros.sim3 import Sim3

TYPES = {"nav_msgs/msg/Odometry": Odometry, "geometry_msgs/msg/PoseStamped": PoseStamped}
"""What ``odometry_topic`` may carry."""

HORIZON = 10_000_000_000
"""Nanoseconds that are kept."""

LONGEST_GAP = 500_000_000
"""Nanoseconds between two messages beyond which nothing is known between them."""

MOST_APART = 10
"""Images in succession that no message is near to, while messages come, until that is told."""


class OdometryInput:
    """Subscribes to ``odometry_topic`` once the graph shows its type. Thread-safe; nothing here waits.

    A nav_msgs/Odometry is about its child frame; a PoseStamped about ``base_frame``, or about the camera where the
    robot has none. From there TF leads to the camera.

    Args:
        node: where the subscription is made.
        config: the node's parameters.
        transforms: of the robot.
        complaints: about the reconstruction.

    Attributes:
        found, lacking: questions that were answered, and that were not.
        refused: messages that hold no pose.
        last_arrival: monotonic time in seconds of the last message; the silence begins now.
    """

    def __init__(self, node: Node, config: NodeConfig, transforms: Transforms, complaints: Complaints) -> None:
        self._node, self._config, self._transforms, self._complaints = node, config, transforms, complaints
        self.topic = config.odometry_topic
        self.found = self.lacking = self.refused = 0
        self.last_arrival = time.monotonic()
        self._apart = 0
        self._newest: int | None = None
        self._body = ""  # frame whose pose it is; empty: the camera's own
        self._parent = ""
        self._tree = TransformTree(HORIZON, LONGEST_GAP)
        self._lock = threading.Lock()
        self._group = MutuallyExclusiveCallbackGroup()
        self._subscription: Subscription[Any] | None = None
        self._closed = False

    def discover(self) -> None:
        """Subscribe once the graph shows the type."""
        with self._lock:  # activation and the timer may look at once: one of them subscribes
            if self._subscription is not None or self._closed:
                return
            name = self._node.resolve_topic_name(self.topic)
            publishers = self._node.get_publishers_info_by_topic(name)
            kinds = [publisher for publisher in publishers if publisher.topic_type in TYPES]
            if publishers and not kinds:
                text = f"odometry_topic is published as {describe_all(publishers)}; needed is {' or '.join(TYPES)}"
                self._complaints.report("odometry topic", text, once=True)
            if not kinds:
                return
            kind = kinds[0].topic_type
            profile = qos.image_profile(qos.image_reliability("auto", kinds), qos.TF_DEPTH)
            callback = self._on_odometry if TYPES[kind] is Odometry else self._on_pose
            self._subscription = self._node.create_subscription(
                TYPES[kind], name, callback, profile, callback_group=self._group
            )
        self._complaints.settle("odometry topic")
        self._node.get_logger().info(f"odometry: {name} ({kind})")

    def close(self) -> None:
        """Unsubscribe."""
        with self._lock:
            self._closed = True
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
        for kind in ("odometry topic", "odometry apart", "odometry message"):
            self._complaints.settle(kind)

    def clear(self) -> None:
        """Forget all poses, because time begins anew."""
        with self._lock:
            self._tree, self._newest, self._apart = TransformTree(HORIZON, LONGEST_GAP), None, 0

    def prior(self, camera: str, stamp: int) -> Sim3 | None:
        """``odom_from_camera`` at a stamp (ns), or None while it is not known."""
        with self._lock:
            body, parent, newest = self._body or camera, self._parent, self._newest
            try:
                odom_from_body = self._tree.lookup("odometry", "body", stamp)
            except GeometryError:
                odom_from_body = None
        if odom_from_body is None:
            self._note_missing(stamp, newest)
            return None
        try:
            body_from_camera = Sim3() if body == camera else self._transforms.lookup(body, camera, stamp)
        except GeometryError as error:
            self.lacking += 1
            text = f"odometry in '{parent}' is of no use: no transform leads from '{body}' to the camera: {error}"
            self._complaints.report("odometry frame", text, once=True)
            return None
        self.found += 1
        self._apart = 0
        self._complaints.settle("odometry frame")
        self._complaints.settle("odometry apart")
        return odom_from_body @ body_from_camera

    def _note_missing(self, stamp: int, newest: int | None) -> None:
        """Say it when messages come, but none at the images' time: another clock, or too late."""
        self.lacking += 1
        if newest is None or abs(newest - stamp) < LONGEST_GAP:
            return
        self._apart += 1
        if self._apart >= MOST_APART:
            text = (
                f"odometry of '{self.topic}' is of another time than the images: its newest message differs by "
                f"{(newest - stamp) / 1e9:+.3f} s. Let both stamp by one clock (use_sim_time, chrony), or set stamp "
                "to arrival"
            )
            self._complaints.report("odometry apart", text, once=True)

    def _on_odometry(self, message: Odometry) -> None:
        self._take(message, frame_name(message.child_frame_id) or self._config.base_frame, message.pose.pose)

    def _on_pose(self, message: PoseStamped) -> None:
        self._take(message, self._config.base_frame, message.pose)

    def _take(self, message: Any, body: str, pose: Any) -> None:
        self.last_arrival = time.monotonic()
        try:
            odom_from_body = pose_from_message(pose.position, pose.orientation)
        except GeometryError as error:
            self.refused += 1
            text = f"message of '{self.topic}' is ignored: {error} ({self.refused} so far)"
            self._complaints.report("odometry message", text, lasts=EVENT)
            return
        by_arrival = self._config.stamp == "arrival"
        stamp = self._node.get_clock().now().nanoseconds if by_arrival else nanoseconds(message.header.stamp)
        with self._lock:
            self._body, self._parent, self._newest = body, frame_name(message.header.frame_id), stamp
            self._tree.insert(stamp, "odometry", "body", odom_from_body)
