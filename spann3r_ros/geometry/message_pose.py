"""Rigid transforms as messages hold them: a position or translation, and a quaternion."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from spann3r_ros.geometry.axes import rotation_from_quaternion
from spann3r_ros.sim3 import Sim3


class Vector(Protocol):
    """``geometry_msgs/Point`` or ``Vector3``, of whichever library."""

    x: float
    y: float
    z: float


class Orientation(Vector, Protocol):
    """``geometry_msgs/Quaternion``."""

    w: float


def pose_from_message(position: Vector, orientation: Orientation) -> Sim3:
    """``parent_from_child`` of a pose's or a transform's parts, at any stamp.

    Raises:
        GeometryError: a quaternion whose norm is not 1 (a message that was never filled in has norm 0), or NaN.
    """
    quaternion = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    return Sim3.rigid(rotation_from_quaternion(quaternion), np.array([position.x, position.y, position.z]))
