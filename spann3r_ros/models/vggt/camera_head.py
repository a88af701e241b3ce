"""VGGT's camera head: pose and field of view of each frame, refined a few times (section 3.3 of the paper)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from spann3r_ros.blocks.attention import HeadTensors
from spann3r_ros.blocks.transformer import NORM_EPS, EncoderBlock, Mlp
from spann3r_ros.models.vggt.aggregator import AGGREGATOR_EPS
from spann3r_ros.models.vggt.architecture import VggtArchitecture

CHANNELS = 9
"""Of a camera's encoding: translation, quaternion (x, y, z, w) and fields of view (vertical, horizontal) in radians."""

_ANGLES = 2

CameraAttention: TypeAlias = Callable[[int, int, HeadTensors], Tensor]
"""How the heads of (iteration, block of the trunk) attend, (B, heads, S, head_dim) as a result."""


def activated(raw: Tensor) -> Tensor:
    """Encodings (..., 9) from raw ones: angles are not negative."""
    return torch.cat([raw[..., :-_ANGLES], functional.relu(raw[..., -_ANGLES:])], dim=-1)


class CameraHead(nn.Module):
    """Attribute names are the published tensors' names."""

    def __init__(self, architecture: VggtArchitecture) -> None:
        super().__init__()
        a, width = architecture, 2 * architecture.width
        self.iterations = a.camera_iterations
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, CHANNELS))
        self.token_norm = nn.LayerNorm(width, eps=AGGREGATOR_EPS)
        self.adaln_norm = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.embed_pose = nn.Linear(CHANNELS, width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.trunk = nn.ModuleList(
            EncoderBlock(width, a.camera_heads, a.camera_mlp_ratio, eps=AGGREGATOR_EPS, layer_scale=True)
            for _ in range(a.camera_depth)
        )
        self.trunk_norm = nn.LayerNorm(width, eps=AGGREGATOR_EPS)
        self.pose_branch = Mlp(width, width // 2, CHANNELS)

    def forward(self, tokens: Tensor, attention: CameraAttention | None = None) -> Tensor:
        """Camera tokens (B, S, 2 width) to encodings (iterations, B, S, 9); the last iteration is the answer.

        Args:
            tokens: of the aggregator's last layer.
            attention: of the trunk; None: every frame of a scene looks at every other.
        """
        tokens = self.token_norm(tokens)
        plain = self.adaln_norm(tokens)
        raw = self.empty_pose_tokens.expand(*tokens.shape[:2], -1)
        found = []
        for iteration in range(self.iterations):
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(raw)).chunk(3, dim=-1)
            x = tokens + gate * (plain * (1 + scale) + shift)
            for number, block in enumerate(self.trunk):
                x = block(x, None, by=None if attention is None else partial(attention, iteration, number))
            delta = self.pose_branch(self.trunk_norm(x))
            raw = delta if iteration == 0 else raw + delta
            found.append(activated(raw))  # the next iteration starts from the raw one
        return torch.stack(found)
