"""How the error of a pose passes to another frame: along other axes, or fixed to the one it is about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.sim3 import Sim3


def attached_covariance(
    covariance: NDArray[np.float64], world_from_camera: Sim3, camera_from_base: Sim3
) -> NDArray[np.float64]:
    """Covariance of ``world_from_base`` when the base is fixed to the camera.

    A turn of the camera by a small rotation vector r moves the base by r x (its offset along the world's axes).

    Args:
        covariance: (6, 6) of the camera's position and rotation vector along the world's axes.
        world_from_camera: rigid pose of the camera.
        camera_from_base: rigid, taken as exact.

    Returns:
        (6, 6) float64 of the base's position and rotation vector along the world's axes.
    """
    x, y, z = world_from_camera.rotation @ camera_from_base.translation
    jacobian = np.eye(6)
    jacobian[:3, 3:] = [[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]]
    return np.asarray(jacobian @ covariance @ jacobian.T)


def turned_covariance(covariance: NDArray[np.float64], target_from_source: Sim3) -> NDArray[np.float64]:
    """Covariance (6, 6) of a pose's translation and rotation vector, along another frame's axes."""
    turn = np.zeros((6, 6))
    turn[:3, :3] = target_from_source.scale * target_from_source.rotation
    turn[3:, 3:] = target_from_source.rotation
    return np.asarray(turn @ covariance @ turn.T)
