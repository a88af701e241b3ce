"""The pose of a view from its tokens (section 4.4 of the specification of pi^3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualUnit(nn.Module):
    """Three linear layers on each token, each with a ReLU, and a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.res_conv1, self.res_conv2, self.res_conv3 = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        inner = functional.relu(self.res_conv2(functional.relu(self.res_conv1(x))))
        return x + functional.relu(self.res_conv3(inner))


class CameraPoseHead(nn.Module):
    """Tokens of a view to a translation and nine numbers, of which ``poses_from`` makes a rotation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.res_conv = nn.ModuleList(ResidualUnit(width) for _ in range(2))
        self.more_mlps = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.fc_t, self.fc_rot = nn.Linear(width, 3), nn.Linear(width, 9)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(V, P, width) to (V, 3) and (V, 9)."""
        for unit in self.res_conv:
            tokens = unit(tokens)
        feature = self.more_mlps(tokens.mean(dim=1))
        return self.fc_t(feature), self.fc_rot(feature)


def poses_from(translation: Tensor, nine: Tensor) -> Tensor:
    """Rigid (V, 4, 4) float64 of translations (V, 3) and of matrices (V, 9), row by row.

    The rotation is the one nearest to the matrix whose rows have been brought to unit length; NaN where the matrix is
    not finite.
    """
    finite = torch.isfinite(nine).all(dim=-1)
    rows = functional.normalize(nine.double().nan_to_num(0, 0, 0).view(-1, 3, 3), dim=-1, eps=1e-12)
    left, _, right = torch.linalg.svd(rows.mT)
    sign = torch.ones_like(translation, dtype=torch.float64)
    sign[:, 2] = torch.linalg.det(right.mT @ left.mT)
    pose = torch.zeros(len(nine), 4, 4, dtype=torch.float64, device=nine.device)
    pose[:, :3, :3] = (right.mT * sign[:, None]) @ left.mT
    pose[:, :3, 3] = translation
    pose[:, 3, 3] = 1.0
    return torch.where(finite[:, None, None], pose, torch.nan)


def rigid_inverse(pose: Tensor) -> Tensor:
    """The inverse of rigid transforms (..., 4, 4)."""
    inverse = torch.zeros_like(pose)
    inverse[..., :3, :3] = pose[..., :3, :3].transpose(-2, -1)
    inverse[..., :3, 3:] = -(pose[..., :3, :3].transpose(-2, -1) @ pose[..., :3, 3:])
    inverse[..., 3, 3] = 1.0
    return inverse
