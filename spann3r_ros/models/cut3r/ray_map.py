"""Images of rays, with which CUT3R is asked what a camera would see that never was there (paper, section 3.4)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import rays
from spann3r_ros.sim3 import Sim3


def viewer_camera(height: int, width: int) -> Intrinsics:
    """The camera of the published viewer: its focal length is the diagonal of the image."""
    focal = math.hypot(height, width)
    return Intrinsics(focal, focal, width // 2, height // 2, width, height)


def ray_map(submap_from_camera: Sim3, camera: Intrinsics) -> NDArray[np.float32]:
    """Origins and directions of the rays of a camera, (h, w, 6) float32, as the published networks were trained.

    The direction has the camera's position added before it is normalized: it is no direction then, but the networks
    know no other.
    """
    position = submap_from_camera.translation
    ahead: NDArray[Any] = rays(camera) @ submap_from_camera.rotation.T + position
    ahead = ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)
    origins = np.broadcast_to(position, ahead.shape)
    return np.concatenate([origins, ahead], axis=-1).astype(np.float32)
