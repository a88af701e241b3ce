"""The camera's, the base's, or the odometry's place in the world: /tf (REP-105) and ~/odometry."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from tf2_msgs.msg import TFMessage

from spann3r_ros.complaints import EVENT, Complaints, Severity, reason
from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.pose_covariance import attached_covariance
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.ros.conversions import odometry_message, transform_message
from spann3r_ros.ros.outputs import ODOMETRY, TF, listened, publisher
from spann3r_ros.ros.transform_lookup import Transforms
from spann3r_ros.sim3 import Sim3

MOST_WAITING = 100
"""Poses that wait for their transforms at most; beyond it the oldest is dropped."""

POLL = 0.01
"""Seconds until a transform that is not known yet is asked for again."""


@dataclass(frozen=True, eq=False)
class LocatedCamera:
    """Where a camera was.

    Attributes:
        stamp: nanoseconds, of its image.
        camera: its optical frame.
        world_from_camera: its pose.
        covariance: (6, 6) of the pose as in ``WorldPrediction``, or None.
        metric: whether the unit of the world is the meter.
        deadline: monotonic time in seconds until which transforms of the robot are waited for.
    """

    stamp: int
    camera: str
    world_from_camera: Sim3
    covariance: NDArray[np.float64] | None
    metric: bool
    deadline: float


class WorldBroadcaster:
    """Publishes ``world -> camera``, or ``world -> odom`` on a robot that has odometry, and ``~/odometry``.

    It refuses, with a complaint, rather than guess: a camera that already hangs on another frame, a missing or
    unstamped transform of the robot, or a map without a metric scale beside metric odometry.

    The robot's transforms come when they come: a thread of its own waits for them, publishes in the order of the
    images, and so never holds up the network.

    Args:
        node: where the publishers are made.
        config: its parameters; live ones are read anew for each pose.
        transforms: of the robot.
        complaints: about the reconstruction.

    Attributes:
        dropped: poses that were not published, because too many waited.
    """

    def __init__(self, node: LifecycleNode, config: NodeConfig, transforms: Transforms, complaints: Complaints) -> None:
        self._node, self._config, self._transforms, self._complaints = node, config, transforms, complaints
        self._tf = publisher(node, TF)
        self._odometry = publisher(node, ODOMETRY)
        self._changed = threading.Condition()  # guards everything below
        self._waiting: deque[LocatedCamera] = deque()
        self._latest: dict[str, int] = {}  # stamp of the newest transform, by its child
        self._generation = 0
        self.dropped = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="transforms", daemon=True)
        self._thread.start()

    def tell(self, prediction: WorldPrediction) -> None:
        """Publish where the camera of a prediction was, as soon as the robot's transforms are known. Never waits."""
        wanted = {"transform": self._broadcasts, "odometry": listened(self._odometry)}
        for kind, is_wanted in wanted.items():
            if not is_wanted:  # what nobody wants cannot be wrong
                self._complaints.settle(kind)
        pose = prediction.world_from_camera
        if pose is None or not any(wanted.values()):
            return
        frame, deadline = prediction.frame, time.monotonic() + self._config.tf_timeout
        located = LocatedCamera(
            frame.stamp, frame.camera, pose, prediction.pose_covariance, prediction.metric, deadline
        )
        with self._changed:
            is_full = len(self._waiting) >= MOST_WAITING
            if is_full:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(located)
            self._changed.notify()
        if is_full:
            self._complaints.report(
                "transforms are late",
                f"{self.dropped} poses were not published on /tf and ~/odometry: {MOST_WAITING} wait for the robot's "
                "transforms. Lower tf_timeout, or look why the transforms come so late",
                lasts=EVENT,
            )

    def clear(self) -> None:
        """Forget all poses that wait, and begin a new time."""
        with self._changed:
            self._generation += 1
            self._waiting.clear()
            self._latest.clear()
            self._changed.notify()

    def close(self) -> None:
        """End the thread and stop broadcasting."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for made in (self._tf, self._odometry):
            self._node.destroy_lifecycle_publisher(made)

    @property
    def _broadcasts(self) -> bool:
        """Whether /tf is wanted; what this node itself listens to does not count."""
        return bool(
            self._config.publish_tf and self._tf.get_subscription_count() > self._transforms.subscriptions_to_tf
        )

    # On the thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                located, generation = self._waiting.popleft(), self._generation
            try:
                self._publish(located, generation)
            except Exception as error:  # the thread outlives any pose
                text = f"transforms are not published: {reason(error)}"
                self._complaints.report("broadcast", text, Severity.ERROR, error, lasts=EVENT)

    def _publish(self, located: LocatedCamera, generation: int) -> None:
        """Both outputs, each when somebody listens."""
        if self._broadcasts:
            try:
                child, pose = self._world_from_child(located, generation)
            except GeometryError as error:
                self._complain(generation, "transform", f"no transform is broadcast: {error}")
            else:
                self._complaints.settle("transform")
                self._send_transform(located.stamp, child, pose, generation)
        if listened(self._odometry):
            base = self._config.base_frame
            try:
                self._send_odometry(located, generation)
            except GeometryError as error:
                self._complain(generation, "odometry", f"no odometry of '{base}': {error}")
            else:
                self._complaints.settle("odometry")

    def _send_transform(self, stamp: int, child: str, world_from_child: Sim3, generation: int) -> None:
        message = transform_message(stamp, self._config.world_frame, child, world_from_child)
        with self._changed:
            # A refined pose comes after the immediate one of the same image.
            if self._is_current(generation) and stamp > self._latest.get(child, -1):
                self._latest[child] = stamp
                self._tf.publish(TFMessage(transforms=[message]))

    def _send_odometry(self, located: LocatedCamera, generation: int) -> None:
        child, pose, covariance = located.camera, located.world_from_camera, located.covariance
        if self._config.base_frame:
            child = self._config.base_frame
            camera_from_base = self._lookup(located.camera, child, located, generation)
            if covariance is not None:
                covariance = attached_covariance(covariance, pose, camera_from_base)
            pose = located.world_from_camera @ camera_from_base
        message = odometry_message(located.stamp, self._config.world_frame, child, pose, covariance)
        with self._changed:
            if self._is_current(generation):
                self._odometry.publish(message)

    def _world_from_child(self, located: LocatedCamera, generation: int) -> tuple[str, Sim3]:
        """The frame to broadcast and its place."""
        odom, camera = self._config.odom_frame, located.camera
        if not odom:
            parent = self._transforms.parent(camera)
            if parent not in (None, self._config.world_frame):
                raise GeometryError(
                    f"camera frame '{camera}' already hangs on '{parent}', and a frame has one parent",
                    next_step="Set odom_frame and base_frame to publish world -> odom, or publish_tf to false",
                )
            return camera, located.world_from_camera
        if not located.metric:
            raise GeometryError(
                f"the map's unit is unknown, so it cannot be joined to the metric frame '{odom}'",
                next_step="It is when its scale is known (scale_note of ~/status). Else use a metric model, or leave "
                "odom_frame and base_frame empty",
            )
        odom_from_camera = self._lookup(odom, camera, located, generation)
        return odom, located.world_from_camera @ odom_from_camera.inverse()

    def _lookup(self, target: str, source: str, located: LocatedCamera, generation: int) -> Sim3:
        """``target_from_source`` at the pose's stamp; waits until its deadline, or until it is of no use any more."""
        while True:
            try:
                return self._transforms.lookup(target, source, located.stamp)
            except GeometryError:
                if time.monotonic() >= located.deadline:
                    raise
                with self._changed:
                    self._changed.wait_for(lambda: not self._is_current(generation), POLL)
                    if not self._is_current(generation):
                        raise

    def _is_current(self, generation: int) -> bool:
        return not self._closed and generation == self._generation and rclpy.ok(context=self._node.context)

    def _complain(self, generation: int, kind: str, text: str) -> None:
        """Report what went wrong with a pose, unless it was given up because a new time began."""
        with self._changed:
            is_current = self._is_current(generation)
        if is_current:
            self._complaints.report(kind, text)
