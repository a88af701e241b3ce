"""The camera's, or the odometry's, place in the world, broadcast on /tf (REP-105)."""

from __future__ import annotations

from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import NodeConfig
from spann3r_ros.errors import GeometryError
from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import transform_message
from spann3r_ros.ros.transform_lookup import Transforms
from spann3r_ros.sim3 import Sim3


class WorldBroadcaster:
    """Publishes ``world -> camera``, or ``world -> odom`` on a robot that has odometry.

    It refuses, with a complaint, rather than guess: a camera that already hangs on another frame, a
    missing or unstamped transform of the robot, or a map without a metric scale beside metric odometry.
    """

    def __init__(self, node: Node, config: NodeConfig, transforms: Transforms, complaints: Complaints) -> None:
        self._node, self._config, self._transforms, self._complaints = node, config, transforms, complaints
        self._publisher = node.create_publisher(TFMessage, "/tf", qos.live(qos.TF_DEPTH))
        self._latest: dict[str, int] = {}

    def broadcast(self, stamp: int, camera: str, world_from_camera: Sim3, metric: bool) -> None:
        """Tell where the camera was at ``stamp`` (ns). May wait ``tf_timeout`` for the robot's own transforms."""
        config = self._config
        if not config.publish_tf:
            return
        try:
            if config.odom_frame:
                child, pose = config.odom_frame, self._world_from_odom(stamp, camera, world_from_camera, metric)
            else:
                child, pose = camera, self._world_from_free_camera(camera, world_from_camera)
        except GeometryError as error:
            self._complaints.report("transform", f"no transform is broadcast: {error}")
            return
        self._complaints.settle("transform")
        if stamp > self._latest.get(child, -1):  # a refined pose comes after the immediate one of the same image
            self._latest[child] = stamp
            message = transform_message(stamp, config.world_frame, child, pose)
            self._publisher.publish(TFMessage(transforms=[message]))

    def world_from_base(self, stamp: int, camera: str, world_from_camera: Sim3) -> Sim3:
        """Pose of the robot's base; raises GeometryError when the camera's place on the robot is not known."""
        base = self._config.base_frame
        return world_from_camera @ self._transforms.lookup(camera, base, stamp, self._config.tf_timeout)

    def clear(self) -> None:
        """Begin a new time."""
        self._latest.clear()

    def close(self) -> None:
        """Stop broadcasting."""
        self._node.destroy_publisher(self._publisher)

    def _world_from_odom(self, stamp: int, camera: str, world_from_camera: Sim3, metric: bool) -> Sim3:
        odom = self._config.odom_frame
        if not metric:
            raise GeometryError(
                f"the map's unit is unknown, so it cannot be joined to the metric frame '{odom}'",
                next_step="Use a metric model, or leave odom_frame and base_frame empty",
            )
        odom_from_camera = self._transforms.lookup(odom, camera, stamp, self._config.tf_timeout)
        return world_from_camera @ odom_from_camera.inverse()

    def _world_from_free_camera(self, camera: str, world_from_camera: Sim3) -> Sim3:
        parent = self._transforms.parent(camera)
        if parent not in (None, self._config.world_frame):
            raise GeometryError(
                f"camera frame '{camera}' already hangs on '{parent}', and a frame has one parent",
                next_step="Set odom_frame and base_frame to publish world -> odom, or publish_tf to false",
            )
        return world_from_camera
