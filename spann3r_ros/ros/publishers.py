"""The results as topics, each computed and sent only when somebody listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import NodeConfig
from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.camera import depth_from_pointmap
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import (
    camera_info_message,
    cloud_message,
    float_image,
    header,
    odometry_message,
    pose_message,
    pose_stamped,
)
from spann3r_ros.ros.world_broadcaster import WorldBroadcaster
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import StampedPose


class ResultPublishers:
    """All outputs of the node except status and diagnostics.

    Args:
        node: where the lifecycle publishers are made; they are silent while it is not active.
        config: the node's parameters; live ones are read anew for each message.
        world: broadcasts the poses on /tf.
        complaints: about the reconstruction.
    """

    def __init__(
        self, node: LifecycleNode, config: NodeConfig, world: WorldBroadcaster, complaints: Complaints
    ) -> None:
        self._node, self._config, self._world, self._complaints = node, config, world, complaints
        self._all: list[Any] = []
        self.cloud = self._publisher(PointCloud2, "~/cloud", qos.live())
        self.map = self._publisher(PointCloud2, "~/map", qos.latched())
        self.pose = self._publisher(PoseStamped, "~/pose", qos.live())
        self.odometry = self._publisher(Odometry, "~/odometry", qos.live())
        self.path = self._publisher(Path, "~/path", qos.latched())
        self.depth = self._publisher(Image, "~/depth", qos.live())
        self.depth_info = self._publisher(CameraInfo, "~/depth/camera_info", qos.live())
        self.confidence = self._publisher(Image, "~/confidence", qos.live())

    def _publisher(self, kind: type, topic: str, profile: QoSProfile) -> Any:
        options = QoSOverridingOptions.with_default_policies()
        publisher: Any = self._node.create_lifecycle_publisher(kind, topic, profile, qos_overriding_options=options)
        self._all.append(publisher)
        return publisher

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self._all:
            self._node.destroy_lifecycle_publisher(publisher)
        self._all.clear()

    def publish(self, prediction: WorldPrediction) -> None:
        """Everything that is about one frame, with the stamp of its image."""
        stamp, camera = prediction.frame.stamp, prediction.frame.camera
        confident = prediction.confidence >= self._config.map.min_confidence
        if listened(self.cloud):
            self.cloud.publish(self._cloud(prediction, confident))
        if listened(self.confidence):
            self.confidence.publish(float_image(stamp, camera, prediction.confidence))
        pose = prediction.world_from_camera
        if pose is None:
            return
        if listened(self.depth) or listened(self.depth_info):
            self._publish_depth(prediction, pose, confident)
        if listened(self.pose):
            self.pose.publish(pose_stamped(stamp, self._config.world_frame, pose))
        self._world.broadcast(stamp, camera, pose, prediction.metric)
        if listened(self.odometry):
            self._publish_odometry(stamp, camera, pose)

    def publish_map(self, cloud: PointCloud, stamp: int) -> None:
        """The accumulated map; ``stamp`` is that of the newest image in it."""
        self.map.publish(cloud_message(stamp, self._config.world_frame, cloud.points, cloud.colors, cloud.confidence))

    def publish_path(self, trajectory: Sequence[StampedPose]) -> None:
        """The newest ``path_length`` poses, each with the stamp of its image."""
        frame = self._config.world_frame
        newest = trajectory[-self._config.path_length :]
        message = Path(header=header(newest[-1].stamp if newest else 0, frame))
        message.poses = [
            PoseStamped(header=header(entry.stamp, frame), pose=pose_message(entry.target_from_camera))
            for entry in newest
        ]
        self.path.publish(message)

    def _cloud(self, prediction: WorldPrediction, confident: NDArray[np.bool_]) -> PointCloud2:
        stamp, frame, points = prediction.frame.stamp, self._config.world_frame, prediction.points
        usable = confident & np.isfinite(points).all(axis=-1)
        if self._config.cloud == "pointmap":
            return cloud_message(stamp, frame, points, prediction.colors, prediction.confidence)
        if self._config.cloud == "organized":
            points = np.where(usable[..., None], points, np.float32(np.nan))
            return cloud_message(stamp, frame, points, prediction.colors, prediction.confidence)
        return cloud_message(stamp, frame, points[usable], prediction.colors[usable], prediction.confidence[usable])

    def _publish_depth(self, prediction: WorldPrediction, pose: Sim3, confident: NDArray[np.bool_]) -> None:
        stamp, camera = prediction.frame.stamp, prediction.frame.camera
        depth = depth_from_pointmap(prediction.points, pose)
        depth[~confident] = np.nan
        self.depth.publish(float_image(stamp, camera, depth))
        if prediction.intrinsics is not None:
            self.depth_info.publish(camera_info_message(stamp, camera, prediction.intrinsics))

    def _publish_odometry(self, stamp: int, camera: str, pose: Sim3) -> None:
        child = camera
        if self._config.base_frame:
            child = self._config.base_frame
            try:
                pose = self._world.world_from_base(stamp, camera, pose)
            except GeometryError as error:
                self._complaints.report("odometry", f"no odometry of '{child}': {error}")
                return
            self._complaints.settle("odometry")
        self.odometry.publish(odometry_message(stamp, self._config.world_frame, child, pose))


def listened(publisher: Any) -> bool:
    """Whether somebody subscribes."""
    return bool(publisher.get_subscription_count())
