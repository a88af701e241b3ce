"""The network of Spann3R (Wang and Agapito 2024): DUSt3R's trunk, key heads and a value encoder for the memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.patch_embed import PatchEmbed
from spann3r_ros.blocks.transformer import NORM_EPS, EncoderBlock
from spann3r_ros.models.dust3r.network import Dust3rNetwork, Grid, Layers
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture


class Spann3rNetwork(nn.Module):
    """What one step of the paper needs. Attribute names are the published tensors' names."""

    def __init__(self, architecture: Spann3rArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        width, key_width = a.trunk.encoder_width, a.trunk.encoder_width + a.trunk.decoder_width
        self.dust3r = Dust3rNetwork(a.trunk)
        self.pos_patch_embed = PatchEmbed(a.trunk.patch_size, width)
        self.value_encoder = nn.ModuleList(
            EncoderBlock(width, a.value_heads, a.value_mlp_ratio) for _ in range(a.value_depth)
        )
        self.value_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.value_out = nn.Linear(width, width)
        self.norm_q, self.norm_k, self.norm_v = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn_head_1, self.attn_head_2 = (
            nn.Sequential(nn.Linear(key_width, key_width), nn.GELU(), nn.Linear(key_width, width)) for _ in range(2)
        )
        if a.value_features:
            self.value_feature = nn.Linear(width, width)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of everything but the pointmap heads."""
        return self.dust3r.dtype

    def set_precision(self, dtype: torch.dtype) -> None:
        """Convert all but the pointmap heads, which stay in float32."""
        for name, module in self.named_children():
            if name != "dust3r":
                module.to(dtype)
        self.dust3r.set_precision(dtype)

    def key(self, features: Tensor, layers: Layers) -> Tensor:
        """Memory key (B, P, width) of a frame from its encoder feature and the last layer of branch 1."""
        key: Tensor = self.attn_head_1(torch.cat([features, layers[max(layers)]], dim=-1))
        return key

    def query(self, features: Tensor, layers: Layers) -> Tensor:
        """Query (B, P, width) with which the next step reads the memory, from branch 2."""
        query: Tensor = self.attn_head_2(torch.cat([features, layers[max(layers)]], dim=-1))
        return query

    def value(self, points: Tensor, features: Tensor, grid: Grid) -> Tensor:
        """Memory value (B, P, width) of a frame's pointmap (B, H, W, 3) and encoder features (B, P, width)."""
        tokens = self.pos_patch_embed(points.permute(0, 3, 1, 2))
        if self.architecture.value_features:
            tokens = tokens + self.value_feature(features)
        table = None
        if self.architecture.value_rope:
            head_dim = tokens.shape[-1] // self.architecture.value_heads
            table = self.dust3r.rotary_table(grid, head_dim, tokens.device)
        for block in self.value_encoder:
            tokens = block(tokens, table)
        value: Tensor = self.value_out(self.value_norm(tokens))
        return value
