"""Every topic that the node publishes, one row each, and the publishers made of them.

docs/topics.md is generated from these rows (``documentation.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from spann3r_ros.geometry.camera import depth_from_pointmap
from spann3r_ros.mapping.graph_corrections import GraphView
from spann3r_ros.mapping.map_view import MapView
from spann3r_ros.msg import ReconstructionStatus
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.point_cloud import finite_points
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import (
    camera_info_message,
    cloud_message,
    float_image,
    header,
    pose_messages,
    pose_stamped,
)
from spann3r_ros.ros.graph_markers import graph_markers


@dataclass(frozen=True)
class Output:
    """A topic.

    Attributes:
        topic: its name, relative to the node.
        type: class of its messages.
        meaning: what it says, for docs/topics.md.
        frame: whose coordinates it is in: ``world``, ``camera``, or empty for none.
        is_latched: whether who comes late gets the last message.
        depth: messages that are kept for a slow subscriber.
        of_frame: the message about one image; None when there is nothing to say about it. None for the other topics.
        of_map: the message about the whole map, whose newest image has this stamp (ns). None for the other topics.
        of_graph: the message about the pose graph of its submaps likewise. None for the other topics.
    """

    topic: str
    type: type[Any]
    meaning: str
    frame: str = "world"
    is_latched: bool = False
    depth: int = 10
    of_frame: Callable[[WorldPrediction, NodeConfig], Any] | None = None
    of_map: Callable[[MapView, int, NodeConfig], Any] | None = None
    of_graph: Callable[[GraphView, int, NodeConfig], Any] | None = None

    def qos(self) -> QoSProfile:
        """A profile of its own: qos_overrides change it in place."""
        return qos.latched(1) if self.is_latched else qos.live(self.depth)


def frame_cloud(prediction: WorldPrediction, config: NodeConfig) -> PointCloud2:
    """The points of one answer as ~/cloud has them."""
    stamp, frame, points = prediction.frame.stamp, config.world_frame, prediction.points
    if config.cloud == "pointmap":
        return cloud_message(stamp, frame, points, prediction.colors, prediction.confidence)
    usable = (prediction.confidence >= config.map.min_confidence) & finite_points(points)
    if config.cloud == "organized":
        points = np.where(usable[..., None], points, np.float32(np.nan))
        return cloud_message(stamp, frame, points, prediction.colors, prediction.confidence)
    pixels = np.flatnonzero(usable)
    return cloud_message(
        *(stamp, frame, points.reshape(-1, 3).take(pixels, axis=0)),
        prediction.colors.reshape(-1, 3).take(pixels, axis=0),
        prediction.confidence.ravel().take(pixels),
    )


def _confidence(prediction: WorldPrediction, _config: NodeConfig) -> Image:
    return float_image(prediction.frame.stamp, prediction.frame.camera, prediction.confidence)


def _depth(prediction: WorldPrediction, config: NodeConfig) -> Image | None:
    if prediction.world_from_camera is None:
        return None
    depth = depth_from_pointmap(prediction.points, prediction.world_from_camera)
    depth[prediction.confidence < config.map.min_confidence] = np.nan
    return float_image(prediction.frame.stamp, prediction.frame.camera, depth)


def _depth_info(prediction: WorldPrediction, _config: NodeConfig) -> CameraInfo | None:
    if prediction.world_from_camera is None or prediction.intrinsics is None:  # then there is no depth either
        return None
    return camera_info_message(prediction.frame.stamp, prediction.frame.camera, prediction.intrinsics)


def _pose(prediction: WorldPrediction, config: NodeConfig) -> PoseStamped | None:
    if prediction.world_from_camera is None:
        return None
    return pose_stamped(prediction.frame.stamp, config.world_frame, prediction.world_from_camera)


def _map(view: MapView, stamp: int, config: NodeConfig) -> PointCloud2:
    cloud = view.cloud(config.map.min_observations)
    return cloud_message(stamp, config.world_frame, cloud.points, cloud.colors, cloud.confidence)


def _path(view: MapView, _stamp: int, config: NodeConfig) -> Path:
    _, stamps, _, _, rotations, positions = view.trajectory().columns()
    newest = slice(-config.path_length, None)
    message = Path(header=header(int(stamps[-1]) if len(stamps) else 0, config.world_frame))
    message.poses = [
        PoseStamped(header=header(stamp, config.world_frame), pose=pose)
        for stamp, pose in zip(
            stamps[newest].tolist(), pose_messages(rotations[newest], positions[newest]), strict=True
        )
    ]
    return message


def _graph(view: GraphView, stamp: int, config: NodeConfig) -> MarkerArray:
    return graph_markers(view, stamp, config.world_frame)


CLOUD = Output(
    "~/cloud",
    PointCloud2,
    "points of one image: `x y z rgb confidence`, all FLOAT32; filtered, organized with NaN, or every pixel (`cloud`)",
    of_frame=frame_cloud,
)
CONFIDENCE = Output("~/confidence", Image, "32FC1 in 0 .. 1", "camera", of_frame=_confidence)
DEPTH = Output("~/depth", Image, "32FC1 along the optical axis, NaN where not confident", "camera", of_frame=_depth)
DEPTH_INFO = Output(
    "~/depth/camera_info", CameraInfo, "its calibration, known or estimated", "camera", of_frame=_depth_info
)
POSE = Output("~/pose", PoseStamped, "pose of the camera, optical axes", of_frame=_pose)
MAP = Output(
    "~/map",
    PointCloud2,
    "the whole map, at most `map_rate` times a second and only when it changed",
    is_latched=True,
    of_map=_map,
)
PATH = Output(
    "~/path",
    Path,
    "poses of the camera, the newest `path_length` of them, as they are corrected by now",
    is_latched=True,
    of_map=_path,
)
GRAPH = Output(
    "~/graph",
    MarkerArray,
    "submaps, and what holds them together, as namespaces: `submaps`, `joint` (shared frames), `loop`, `odometry`, and "
    "`rejected`; as often as `~/map`",
    is_latched=True,
    of_graph=_graph,
)
ODOMETRY = Output(
    "~/odometry",
    Odometry,
    "pose of `base_frame`, else of the camera, with its covariance where known (else `pose.covariance[0]` is -1); no "
    "velocity (`twist.covariance[0]` is -1)",
)
TF = Output("/tf", TFMessage, "`world -> camera`, or `world -> odom`", depth=qos.TF_DEPTH)
STATUS = Output(
    "~/status", ReconstructionStatus, "model, rates, latency, sizes, what is wrong, whether the unit is a meter"
)
DIAGNOSTICS = Output(
    "/diagnostics", DiagnosticArray, "one entry for the reconstruction, one per camera: what is wrong, and numbers", ""
)

OUTPUTS = (CLOUD, MAP, POSE, ODOMETRY, PATH, GRAPH, DEPTH, DEPTH_INFO, CONFIDENCE, STATUS, DIAGNOSTICS, TF)
"""All rows. Odometry and /tf are made by ``world_broadcaster.py``, status and diagnostics by the node."""


class Publishers:
    """The topics that are made from a prediction or from the map, each computed and sent only when somebody listens.

    Args:
        node: where the lifecycle publishers are made; they are silent while it is not active.
        config: the node's parameters; live ones are read anew for each message.
    """

    def __init__(self, node: LifecycleNode, config: NodeConfig) -> None:
        self._node, self._config = node, config
        self._all = {row: publisher(node, row) for row in OUTPUTS if row.of_frame or row.of_map or row.of_graph}

    def close(self) -> None:
        """Destroy the publishers."""
        for made in self._all.values():
            self._node.destroy_lifecycle_publisher(made)
        self._all.clear()

    def publish(self, prediction: WorldPrediction) -> None:
        """Everything that is about one image, with its stamp."""
        for row, made in self._all.items():
            if row.of_frame is not None and listened(made):
                message = row.of_frame(prediction, self._config)
                if message is not None:
                    made.publish(message)

    def wanted(self, row: Output) -> bool:
        """Whether somebody listens to a topic."""
        return listened(self._all[row])

    def publish_map(self, row: Output, view: MapView, graph: GraphView, stamp: int) -> None:
        """One topic about the whole map or its graph; ``stamp`` (ns) is that of the newest image in it."""
        if row.of_map is not None:
            self._all[row].publish(row.of_map(view, stamp, self._config))
        if row.of_graph is not None:
            self._all[row].publish(row.of_graph(graph, stamp, self._config))


def publisher(node: LifecycleNode, row: Output) -> Any:
    """A lifecycle publisher of a row, whose QoS the parameters qos_overrides may change."""
    options = QoSOverridingOptions.with_default_policies()
    return node.create_lifecycle_publisher(row.type, row.topic, row.qos(), qos_overriding_options=options)


def listened(publisher: Any) -> bool:
    """Whether somebody subscribes."""
    return bool(publisher.get_subscription_count())
