"""Axes conventions: camera optical (x right, y down, z forward) and ROS (x forward, y left, z up)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.sim3 import Sim3

ROS_FROM_OPTICAL = Sim3(rotation=np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]))
"""Turns optical axes into ROS body axes (REP-103): forward is z before and x after."""

NORM_TOLERANCE = 0.05
"""How far a quaternion's norm may be from 1: rounding in a text file passes, another quantity does not."""


def quaternion_from_rotation(rotation: NDArray[Any]) -> NDArray[np.float64]:
    """Unit quaternions ``(x, y, z, w)``, w >= 0, of rotation matrices.

    Args:
        rotation: (..., 3, 3), orthonormal.

    Returns:
        (..., 4) float64, the order of ``geometry_msgs/Quaternion`` and of TUM files.
    """
    matrices = np.asarray(rotation, dtype=np.float64)
    if matrices.shape[-2:] != (3, 3):
        raise GeometryError("rotation matrices", got=matrices.shape, expected="shape (..., 3, 3)")
    flat = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_quat()
    flat[flat[:, 3] < 0] *= -1.0
    return np.asarray(flat.reshape(*matrices.shape[:-2], 4))


def rotation_from_quaternion(quaternion: NDArray[Any]) -> NDArray[np.float64]:
    """Rotation matrices (..., 3, 3) float64 of quaternions (..., 4) in the order ``(x, y, z, w)``.

    Raises:
        GeometryError: a wrong shape, or a norm that is not 1 within ``NORM_TOLERANCE``.
    """
    quaternions = np.asarray(quaternion, dtype=np.float64)
    if quaternions.shape[-1:] != (4,):
        raise GeometryError("quaternions (x, y, z, w)", got=quaternions.shape, expected="shape (..., 4)")
    norms = np.linalg.norm(quaternions, axis=-1)
    wrong = ~(np.abs(norms - 1.0) <= NORM_TOLERANCE)
    if wrong.any():
        raise GeometryError(
            "norm of a quaternion (x, y, z, w)",
            got=float(norms[wrong].ravel()[0]),
            expected="1",
            next_step="A message that was never filled in has norm 0",
        )
    flat = Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix()
    return np.asarray(flat.reshape(*quaternions.shape[:-1], 3, 3))
