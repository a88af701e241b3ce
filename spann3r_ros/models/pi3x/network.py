"""The network of Pi3X: pi^3 with convolutional heads, a metric scale, and conditions (Wang et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.dinov2 import Dinov2
from spann3r_ros.blocks.patch_embed import PatchEmbed
from spann3r_ros.models.pi3.trunk import Grid, Pi3Trunk, ViewSet, local_points
from spann3r_ros.models.pi3x.architecture import Pi3xArchitecture
from spann3r_ros.models.pi3x.conditions import Conditions
from spann3r_ros.models.pi3x.dense_head import VIEWS_AT_ONCE, DenseHead
from spann3r_ros.models.pi3x.metric_decoder import MetricDecoder
from spann3r_ros.models.pi3x.pose_injection import CameraPlacing, PoseInjection

MOST_LOG_DEPTH = 15.0


class Pi3xNetwork(Pi3Trunk):
    """Images of scenes to a ``ViewSet``. Attribute names are the published tensors' names."""

    def __init__(self, architecture: Pi3xArchitecture) -> None:
        super().__init__(architecture.trunk)
        self.architecture = a = architecture
        trunk, width = a.trunk, a.trunk.encoder.width
        self.point_head = DenseHead(trunk.head_out, a.upsample, a.last_width, (2, 1))
        self.conf_head = DenseHead(trunk.head_out, a.upsample, a.last_width, (1,))
        self.metric_token = nn.Parameter(0.02 * torch.randn(1, 1, 2 * width))
        self.metric_decoder = MetricDecoder(2 * width, a.metric_width, a.metric_heads, a.metric_depth, trunk.mlp_ratio)
        self.metric_head = nn.Linear(a.metric_width, 1)
        if a.conditioned:
            self.depth_encoder = Dinov2(a.depth_encoder)
            self.depth_emb = nn.Parameter(0.02 * torch.randn(1, 1, width))
            self.ray_embed = PatchEmbed(trunk.patch_size, width, channels=2)
            self.pose_inject_blk = nn.ModuleList(
                PoseInjection(width, trunk.decoder_heads, trunk.mlp_ratio) for _ in a.inject_after
            )

    def forward(self, images: Tensor, conditions: Conditions | None = None) -> ViewSet:
        """Images (B, N, 3, H, W) in [0, 1], H and W multiples of the patch."""
        grid, views, size = self.grid(images), images.shape[:2], (images.shape[3], images.shape[4])
        features, after = self.encode(images), None
        if conditions is not None and self.architecture.conditioned:
            with torch.autocast(images.device.type, enabled=False):
                conditions = conditions.prepared()
            features, after = self.conditioned(features, conditions), self.injecting(conditions, grid)
        decoded = self.decode(features, grid, after)
        points = self.head_tokens(self.point_decoder, decoded, grid)
        confidence = self.head_tokens(self.conf_decoder, decoded, grid)
        with torch.autocast(images.device.type, enabled=False):
            slopes, log_depth = self.point_head(points, grid, size)
            metric = self.metric(decoded, grid)
            local = local_points(slopes, log_depth.clamp(max=MOST_LOG_DEPTH)).view(*views, *size, 3)
            logits = self.conf_head(confidence, grid, size)[0].view(*views, *size)
        poses = self.poses(decoded, grid)
        poses[..., :3, 3] *= metric[:, None, None]
        return ViewSet(local * metric[:, None, None, None, None], logits, poses, metric)

    def largest_maps(self, pixels: int, frames: int) -> dict[str, int]:
        """See ``Pi3Trunk.largest_maps``."""
        channels = self.architecture.upsample[-1] + 2
        return {"map_channels": channels, "map_pixels": min(frames, VIEWS_AT_ONCE) * pixels}

    def metric(self, decoded: Tensor, grid: Grid) -> Tensor:
        """The factor (B,) float32 that makes meters of the network's unit, from what the heads read (B, N, T, 2 D)."""
        scenes, views = decoded.shape[:2]
        table = self.rotary_table(grid, self.metric_decoder.head_dim, views)
        token = self.metric_token.expand(scenes, -1, -1)
        told: Tensor = self.metric_head(self.metric_decoder(token, decoded.flatten(1, 2), table).float())
        return told[:, 0, 0].exp()

    def conditioned(self, features: Tensor, known: Conditions) -> Tensor:
        """Tokens (B, N, P, D) with what is known of rays and depth; conditions as ``prepared`` gives them."""
        if known.rays is not None:
            features = features + _masked(self.ray_embed(known.rays.flatten(0, 1)).view(features.shape), known.has_rays)
        if known.depths is not None:
            seen = torch.stack([known.depths, (known.depths > 0).to(known.depths.dtype)], dim=2).flatten(0, 1)
            added = self.depth_encoder(seen)[:, self.architecture.depth_encoder.specials :] + self.depth_emb
            features = features + _masked(added.view(features.shape), known.has_depth)
        return features

    def injecting(self, known: Conditions, grid: Grid) -> Callable[[int, Tensor], Tensor] | None:
        """What tells the decoder the poses between its blocks, or None when none is known."""
        if known.poses is None:
            return None
        a = self.architecture.trunk
        placing = CameraPlacing.of(known.poses, grid, a.encoder.width // a.decoder_heads, a.rope_base)
        has_pose, mask = known.has_pose, None
        if has_pose is not None:
            mask = has_pose.repeat_interleave(grid[0] * grid[1], dim=1)[:, None, None]

        def after(number: int, tokens: Tensor) -> Tensor:
            if number not in self.architecture.inject_after:
                return tokens
            block = self.pose_inject_blk[self.architecture.inject_after.index(number)]
            registers, x = tokens[:, :, : a.registers], tokens[:, :, a.registers :]
            added = block(x.flatten(1, 2), placing, mask).view(x.shape)
            return torch.cat([registers, x + _masked(added, has_pose)], dim=2)

        return after


def _masked(added: Tensor, views: Tensor | None) -> Tensor:
    """What is added to tokens (B, N, P, D), for some of the views (B, N) or for all."""
    return added if views is None else torch.where(views[..., None, None], added, torch.zeros_like(added))
