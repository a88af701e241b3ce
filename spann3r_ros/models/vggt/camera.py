"""VGGT's encoding of a camera as geometry (section 3.1 of the paper): pose, calibration, and depth as points.

An encoding (..., 9) is the translation and the quaternion (x, y, z, w), of any length, of ``camera_from_world``, and
the vertical and horizontal field of view in radians. The principal point is the middle of the image, (W / 2, H / 2).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.frame import Intrinsics
from spann3r_ros.sim3 import Sim3


def rotations(encodings: Tensor) -> Tensor:
    """``camera_from_world`` rotations (..., 3, 3) of encodings (..., 9)."""
    x, y, z, w = encodings[..., 3:7].unbind(-1)
    s = 2.0 / encodings[..., 3:7].square().sum(dim=-1)
    rows = [
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def pixels_per_unit(encodings: Tensor, size: tuple[int, int]) -> Tensor:
    """Focal lengths (..., 2), horizontal first, in pixels of an (H, W) image; infinite where the view has no width."""
    height, width = size
    half_tangents = torch.tan(encodings[..., 7:9] / 2)
    return torch.stack([width / 2 / half_tangents[..., 1], height / 2 / half_tangents[..., 0]], dim=-1)


def points_from_depth(depth: Tensor, encodings: Tensor) -> Tensor:
    """World points (..., H, W, 3) of depths (..., H, W) along the optical axes of the encoded cameras (..., 9)."""
    height, width = depth.shape[-2:]
    # Tangents, not focal lengths: a field of view of zero is a line, not a division by zero.
    tangents = torch.tan(encodings[..., 7:9] / 2)[..., None, None, :]
    x = (torch.arange(width, device=depth.device, dtype=depth.dtype) - width / 2) / (width / 2)
    y = (torch.arange(height, device=depth.device, dtype=depth.dtype) - height / 2) / (height / 2)
    in_camera = torch.stack([depth * x * tangents[..., 1], depth * y[:, None] * tangents[..., 0], depth], dim=-1)
    moved = in_camera - encodings[..., None, None, :3]
    return (moved.flatten(-3, -2) @ rotations(encodings)).view_as(moved)  # rows times R are columns times its inverse


def world_from_camera(encoding: NDArray[Any]) -> Sim3:
    """The pose of one encoded camera (9,); GeometryError for an encoding that is none."""
    exact = torch.from_numpy(np.asarray(encoding, dtype=np.float64))
    camera_from_world = Sim3.rigid(rotations(exact).numpy(), exact[:3].numpy())
    return camera_from_world.inverse()


def intrinsics(encoding: NDArray[Any], size: tuple[int, int]) -> Intrinsics | None:
    """Calibration of an (H, W) image, or None where the encoded field of view (9,) is that of no camera."""
    height, width = size
    vertical, horizontal = (float(angle) for angle in encoding[7:9])
    if not 1e-3 < min(vertical, horizontal) <= max(vertical, horizontal) < math.pi - 1e-3:
        return None
    fx, fy = width / 2 / math.tan(horizontal / 2), height / 2 / math.tan(vertical / 2)
    return Intrinsics(fx, fy, width / 2, height / 2, width, height)
