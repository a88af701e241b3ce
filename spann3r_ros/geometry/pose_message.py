"""Poses as ``geometry_msgs`` states them, be it rclpy's message or a bag reader's."""

from __future__ import annotations

from typing import Any

import numpy as np

from spann3r_ros.geometry.axes import rotation_from_quaternion
from spann3r_ros.sim3 import Sim3


def pose_from_message(position: Any, orientation: Any) -> Sim3:
    """Rigid transform of a Point or Vector3 and a Quaternion.

    Raises:
        GeometryError: NaN, or a quaternion that is none (one that was never filled in has norm 0).
    """
    q = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    return Sim3.rigid(rotation_from_quaternion(q), np.array([position.x, position.y, position.z]))
