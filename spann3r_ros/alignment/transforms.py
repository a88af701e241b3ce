"""Rotations, translations and lengths in the form in which an optimization moves them (PyTorch)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor


def signed_log(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|)."""
    return x.sign() * torch.log1p(x.abs())


def signed_exp(x: Tensor) -> Tensor:
    """sign(x) (exp|x| - 1), the inverse of ``signed_log``; its slope at 0 is 1, not 0 as that of the formula."""
    return torch.where(x < 0, -torch.expm1(-x), torch.expm1(x))


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """(..., 4) x, y, z, w of any length > 0 to rotation matrices (..., 3, 3)."""
    x, y, z, w = torch.unbind(quaternion / quaternion.norm(dim=-1, keepdim=True), dim=-1)
    rows = (
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], dim=-1),
        torch.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], dim=-1),
        torch.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], dim=-1),
    )
    return torch.stack(rows, dim=-2)


def quaternion_from_rotation(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rotation matrix (3, 3) to x, y, z, w, the largest of which is positive."""
    quaternion = np.asarray(Rotation.from_matrix(rotation).as_quat(), dtype=np.float64)
    return -quaternion if quaternion[np.abs(quaternion).argmax()] < 0 else quaternion


def rigid_matrix(rotation: Tensor, translation: Tensor) -> Tensor:
    """(..., 3, 3) and (..., 3) to matrices (..., 4, 4)."""
    matrix = torch.zeros((*rotation.shape[:-2], 4, 4), dtype=rotation.dtype, device=rotation.device)
    matrix[..., :3, :3], matrix[..., :3, 3], matrix[..., 3, 3] = rotation, translation, 1.0
    return matrix
