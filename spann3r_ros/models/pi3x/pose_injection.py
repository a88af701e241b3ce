"""How poses are told to the decoder of Pi3X: attention between views that turns features by the cameras (section 8.3).

Half of each head are 4-vectors that are moved by the 4 x 4 matrix of their view's camera (PRoPE, Li et al. 2025), the
other half is turned by the patch's place in its image, column before row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.attention import SelfAttention, attend
from spann3r_ros.blocks.rope import RotaryTable, grid_positions, rotate, table_at
from spann3r_ros.blocks.transformer import NORM_EPS, LayerScale, Mlp
from spann3r_ros.models.pi3.camera_head import rigid_inverse

Grid = tuple[int, int]


@dataclass(frozen=True, eq=False)
class CameraPlacing:
    """Where the views' cameras are, as the attention needs it.

    Attributes:
        camera_from_scene, scene_from_camera: (B, N, 4, 4) float32, rigid.
        there, back: tables of the N P patches: by which the tokens are turned before the attention and after it.
    """

    camera_from_scene: Tensor
    scene_from_camera: Tensor
    there: RotaryTable
    back: RotaryTable

    @classmethod
    def of(cls, scene_from_camera: Tensor, grid: Grid, head_dim: int, base: float) -> CameraPlacing:
        """Of poses (B, N, 4, 4), and heads of ``head_dim`` channels."""
        places, views = grid_positions(grid, device=scene_from_camera.device).flip(-1), scene_from_camera.shape[1]
        there, back = (table_at(turn * places, head_dim // 2, base).repeated(views) for turn in (-1, 1))
        return cls(rigid_inverse(scene_from_camera), scene_from_camera, there, back)

    def moved(self, heads: Tensor, matrices: Tensor, table: RotaryTable) -> Tensor:
        """Queries, keys, values or results (B, heads, N P, d) by matrices (B, N, 4, 4) of the views and a table."""
        half, views = heads.shape[-1] // 2, matrices.shape[1]
        batch, count = heads.shape[:2]
        vectors = heads[..., :half].reshape(batch, count, views, -1, 4)
        vectors = vectors @ matrices.transpose(-2, -1)[:, None].to(vectors.dtype)
        return torch.cat([vectors.reshape(batch, count, -1, half), rotate(heads[..., half:], table)], dim=-1)


class PoseInjection(nn.Module):
    """What a pose adds to the patch tokens of its view; attention and MLP both see the tokens as they came."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=NORM_EPS), nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = SelfAttention(width, heads, head_norm=True)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.ls1, self.ls2 = LayerScale(width), LayerScale(width)

    def forward(self, x: Tensor, placing: CameraPlacing, mask: Tensor | None) -> Tensor:
        """Patch tokens (B, N P, D) of all views of a scene to what is added to them, for views with a pose.

        Args:
            x: the tokens.
            placing: of their views.
            mask: (B, 1, 1, N P) bool, tokens of views with a pose; None when all have one.
        """
        query, key, value = self.attn.split(self.norm1(x), None)
        query = placing.moved(query, placing.camera_from_scene.transpose(-2, -1), placing.there)
        key = placing.moved(key, placing.scene_from_camera, placing.there)
        value = placing.moved(value, placing.scene_from_camera, placing.there)
        attended = attend(query, key, value, mask)
        if mask is not None:  # a view without a pose neither is looked at nor looks
            attended = torch.where(mask.transpose(-2, -1), attended, torch.zeros_like(attended))
        attended = placing.moved(attended, placing.camera_from_scene, placing.back)
        added: Tensor = self.ls1(self.attn.merged(attended)) + self.ls2(self.mlp(self.norm2(x)))
        return added
