"""What CUT3R makes of a frame's tokens: the camera's pose, pointmaps in its own and in the world's frame, colors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from spann3r_ros.blocks.activation import confidence_from_raw, points_from_raw
from spann3r_ros.blocks.attention import SelfAttention
from spann3r_ros.blocks.dpt_head import Pyramid
from spann3r_ros.blocks.rope import RotaryTable
from spann3r_ros.blocks.transformer import NORM_EPS, Mlp
from spann3r_ros.models.cut3r.architecture import FINAL_DEPTH, Cut3rArchitecture
from spann3r_ros.models.pointmap import Pointmap

POSE_NUMBERS = 7
"""Translation, then a unit quaternion (w, x, y, z)."""


class PoseMlp(nn.Module):
    """From the pose token to raw numbers of a pose."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = Mlp(width, 4 * width, POSE_NUMBERS)

    def forward(self, token: Tensor) -> Tensor:
        """Pose tokens (B, 1, width) to raw poses (B, 7)."""
        raw: Tensor = self.mlp(token)[:, 0]
        return raw


class ModulatedNorm(nn.Module):
    """A layer norm whose scale and shift depend on another token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens (B, P, width) and what they depend on (B, 1, width) to tokens."""
        shift, scale = self.mlp(condition).chunk(2, dim=-1)
        modulated: Tensor = self.norm(x) * (1 + scale) + shift
        return modulated


class ModulatedBlock(nn.Module):
    """Self-attention and MLP with modulated norms, each with a residual."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = ModulatedNorm(width)
        self.attn = SelfAttention(width, heads)
        self.norm2 = ModulatedNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x: Tensor, condition: Tensor, table: RotaryTable) -> Tensor:
        """Tokens (B, P, width) and what they depend on (B, 1, width) to tokens."""
        x = x + self.attn(self.norm1(x, condition), table)
        x = x + self.mlp(self.norm2(x, condition))
        return x


class Cut3rHeads(nn.Module):
    """All heads, always in float32. Attribute names are the published tensors' names."""

    def __init__(self, architecture: Cut3rArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        width = a.decoder_width
        self.pose_head = PoseMlp(width)
        self.final_transform = nn.ModuleList(
            ModulatedBlock(width, a.decoder_heads, a.mlp_ratio) for _ in range(FINAL_DEPTH)
        )
        if a.head == "dpt":
            self.dpt_self, self.dpt_cross, self.dpt_rgb = (_pyramid(a, channels) for channels in (4, 4, 3))
        else:
            pixels = a.patch_size**2
            self.proj, self.cross_proj, self.rgb_proj = (
                Mlp(width, 4 * width, channels * pixels) for channels in (4, 4, 3)
            )

    def pose(self, token: Tensor) -> Tensor:
        """Pose token (B, 1, width) to ``world_from_camera`` (B, 7): translation, unit quaternion with w >= 0 first."""
        raw = self.pose_head(token)
        translation = points_from_raw(raw[:, :3], self.architecture.pose_mode)
        quaternion = functional.normalize(raw[:, 3:], dim=-1, eps=1e-12)
        quaternion = torch.where(quaternion[:, :1] < 0, -quaternion, quaternion)
        return torch.cat([translation, quaternion], dim=-1)

    def self_map(self, layers: Mapping[int, Tensor], grid: tuple[int, int]) -> Pointmap:
        """The pointmap in the camera's own frame; linear heads look ahead only."""
        raw = self._raw("self", layers, grid)
        xyz = raw[..., :3]
        if self.architecture.head == "linear":
            xyz = xyz * xyz[..., 2:].sign()
        return self._pointmap(xyz, raw[..., 3])

    def cross_map(
        self, layers: Mapping[int, Tensor], token: Tensor, grid: tuple[int, int], table: RotaryTable
    ) -> Pointmap:
        """The pointmap in the world's frame, from tokens that were modulated by the pose token (B, 1, width)."""
        last = max(layers)
        tokens = layers[last]
        for block in self.final_transform:
            tokens = block(tokens, token, table)
        raw = self._raw("cross", {**layers, last: tokens}, grid)
        return self._pointmap(raw[..., :3], raw[..., 3])

    def colors(self, layers: Mapping[int, Tensor], grid: tuple[int, int]) -> Tensor:
        """Colors (B, H, W, 3) in (-1, 1); only a ray map's frame has to ask for them."""
        shade = torch.sigmoid(self._raw("rgb", layers, grid)) * (1 - 2e-6) + 1e-6
        return 2 * (shade - 0.5)

    def _pointmap(self, xyz: Tensor, raw_confidence: Tensor) -> Pointmap:
        a = self.architecture
        return Pointmap(
            points_from_raw(xyz, a.depth_mode),
            confidence_from_raw(raw_confidence, a.confidence_mode, *a.confidence_range),
        )

    def _raw(self, which: str, layers: Mapping[int, Tensor], grid: tuple[int, int]) -> Tensor:
        """Raw outputs (B, H, W, channels) of the head for ``self``, ``cross`` or ``rgb``."""
        raw: Tensor
        if self.architecture.head == "dpt":
            raw = self.get_submodule(f"dpt_{which}")(layers, grid)
        else:
            mlp = self.get_submodule({"self": "proj", "cross": "cross_proj", "rgb": "rgb_proj"}[which])
            tokens = mlp(layers[max(layers)]).transpose(1, 2).unflatten(2, grid)
            raw = functional.pixel_shuffle(tokens, self.architecture.patch_size)
        return raw.permute(0, 2, 3, 1)


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """Unit quaternions (B, 4), (w, x, y, z), to rotations (B, 3, 3)."""
    w, x, y, z = quaternions.unbind(-1)
    two = 2.0 / quaternions.square().sum(dim=-1)
    rows = [
        [1 - two * (y * y + z * z), two * (x * y - z * w), two * (x * z + y * w)],
        [two * (x * y + z * w), 1 - two * (x * x + z * z), two * (y * z - x * w)],
        [two * (x * z - y * w), two * (y * z + x * w), 1 - two * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def placed_points(points: Tensor, poses: Tensor) -> Tensor:
    """Points (B, H, W, 3) of cameras in the world's frame, given ``world_from_camera`` (B, 7)."""
    rotation = rotation_matrices(poses[:, 3:])
    return torch.einsum("bij,bhwj->bhwi", rotation, points) + poses[:, None, None, :3]


def _pyramid(a: Cut3rArchitecture, channels: int) -> Pyramid:
    widths = [a.encoder_width] + 3 * [a.decoder_width]
    return Pyramid(widths, a.hooks, a.dpt_layer_widths, a.dpt_width, a.dpt_last_width, channels)
