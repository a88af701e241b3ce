"""Looking up the robot's transforms: tf2_ros where it is installed, else /tf and /tf_static themselves."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from spann3r_ros.complaints import EVENT, Complaints
from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import frame_name
from spann3r_ros.geometry.transform_tree import TransformTree
from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import nanoseconds, transform_from_message
from spann3r_ros.sim3 import Sim3


class Transforms(Protocol):
    """Where the frames of the robot are. Thread-safe; nothing here waits.

    Attributes:
        subscriptions_to_tf: how many of the subscriptions to /tf are its own.
    """

    subscriptions_to_tf: int

    def lookup(self, target: str, source: str, stamp: int) -> Sim3:
        """``target_from_source`` at ``stamp`` (ns).

        Raises:
            GeometryError: it is not known, or not yet.
        """
        ...

    def parent(self, frame: str) -> str | None:
        """The frame that ``frame`` hangs on, or None."""
        ...

    def clear(self) -> None:
        """Forget moving frames, because time begins anew."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


def listen(node: Node, complaints: Complaints) -> Transforms:
    """The best source that is installed; transforms that are none are reported to ``complaints``."""
    try:
        import tf2_ros
    except ImportError:
        return TopicTransforms(node, complaints)
    return Tf2Transforms(node, tf2_ros)


class TopicTransforms:
    """A transform tree fed by the topics."""

    subscriptions_to_tf = 1

    def __init__(self, node: Node, complaints: Complaints) -> None:
        self._node, self._complaints = node, complaints
        self._tree = TransformTree()
        self._lock = threading.Lock()
        group = MutuallyExclusiveCallbackGroup()
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", self._moving, qos.live(qos.TF_DEPTH), callback_group=group),
            node.create_subscription(
                TFMessage, "/tf_static", self._fixed, qos.latched(qos.TF_DEPTH), callback_group=group
            ),
        ]

    def lookup(self, target: str, source: str, stamp: int) -> Sim3:  # noqa: D102
        with self._lock:
            return self._tree.lookup(target, source, stamp)

    def parent(self, frame: str) -> str | None:  # noqa: D102
        with self._lock:
            return self._tree.parent(frame)

    def clear(self) -> None:  # noqa: D102
        with self._lock:
            self._tree.clear_moving()

    def close(self) -> None:  # noqa: D102
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _moving(self, message: TFMessage) -> None:
        self._insert(message, static=False)

    def _fixed(self, message: TFMessage) -> None:
        self._insert(message, static=True)

    def _insert(self, message: TFMessage, static: bool) -> None:
        with self._lock:
            for entry in message.transforms:
                parent, child = frame_name(entry.header.frame_id), frame_name(entry.child_frame_id)
                try:
                    pose = transform_from_message(entry.transform)
                except GeometryError as error:
                    text = f"transform '{parent}' -> '{child}' is ignored: {error}"
                    self._complaints.report("odd transform", text, lasts=EVENT)
                    continue
                self._tree.insert(nanoseconds(entry.header.stamp), parent, child, pose, static)


class Tf2Transforms:
    """The buffer of tf2_ros. It notes parents itself: tf2 tells them only with the whole tree, as YAML."""

    subscriptions_to_tf = 1

    def __init__(self, node: Node, tf2_ros: Any) -> None:
        self._error = tf2_ros.TransformException
        # Without the node, which would keep a service (tf2_frames) and with it the buffer for ever.
        self._buffer = tf2_ros.Buffer()
        self._parents: dict[str, tuple[str, bool]] = {}  # of each frame; whether it is for ever
        self._lock = threading.Lock()  # guards them: the listener's callbacks run beside each other
        self._listener = tf2_ros.TransformListener(self, node, spin_thread=False)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Called by the listener."""
        self._note(transform, False)
        self._buffer.set_transform(transform, authority)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Called by the listener."""
        self._note(transform, True)
        self._buffer.set_transform_static(transform, authority)

    def _note(self, transform: TransformStamped, static: bool) -> None:
        parent, child = frame_name(transform.header.frame_id), frame_name(transform.child_frame_id)
        if parent and child and parent != child:
            with self._lock:
                self._parents[child] = (parent, static)

    def lookup(self, target: str, source: str, stamp: int) -> Sim3:  # noqa: D102
        try:
            # Without a timeout, which makes it wait; never at 0, which asks for the latest, whenever that was.
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp or 1))
        except (self._error, ValueError, OverflowError) as error:  # the latter two: no time of ROS
            # In our words, whichever source is installed; tf2's say which frame or time is missing.
            raise GeometryError(f"no transform between '{target}' and '{source}'", next_step=str(error)) from error
        return transform_from_message(found.transform)

    def parent(self, frame: str) -> str | None:  # noqa: D102
        return self._parents.get(frame, (None, False))[0]

    def clear(self) -> None:  # noqa: D102
        self._buffer.clear()  # keeps what is static
        with self._lock:
            self._parents = {child: entry for child, entry in self._parents.items() if entry[1]}

    def close(self) -> None:  # noqa: D102
        self._listener.unregister()
        jumps = getattr(self._buffer, "jump_handle", None)
        if jumps is not None:  # the clock would keep the buffer
            jumps.unregister()
