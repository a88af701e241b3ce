"""The network of Pi3X: pi^3 with convolutional heads, a metric scale, and conditions (Wang et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.dinov2 import Dinov2
from spann3r_ros.blocks.patch_embed import PatchEmbed
from spann3r_ros.models.pi3.trunk import Grid, Pi3Trunk, Stages, ViewSet, local_points
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
            self.pauses = a.inject_after
            self.depth_encoder = Dinov2(a.depth_encoder)
            self.depth_emb = nn.Parameter(0.02 * torch.randn(1, 1, width))
            self.ray_embed = PatchEmbed(trunk.patch_size, width, channels=2)
            self.pose_inject_blk = nn.ModuleList(
                PoseInjection(width, trunk.decoder_heads, trunk.mlp_ratio) for _ in a.inject_after
            )

    def stages(self) -> dict[str, Callable[..., tuple[Tensor, ...]]]:
        """See ``Pi3Trunk.stages``."""
        stages = super().stages()
        stages["metric"] = self.metric
        if self.architecture.conditioned:
            stages.update(rays=self.embedded_rays, depths=self.encoded_depths, inject=self.injected)
        return stages

    def forward(self, images: Tensor, conditions: Conditions | None = None, stages: Stages | None = None) -> ViewSet:
        """Images (B, N, 3, H, W) in [0, 1], H and W multiples of the patch; other ``stages`` may do the work."""
        stages, grid = stages or self.stages(), self.grid(images)
        features, after = self.encode(images, stages), None
        if conditions is not None and self.architecture.conditioned:
            with torch.autocast(images.device.type, enabled=False):
                known = conditions.prepared()
            features, after = self.conditioned(features, known, stages), self.injecting(known, grid, stages)
        decoded = self.decode(features, grid, stages, after)
        answer = self.answered(decoded, grid, stages)
        [metric] = stages["metric"](decoded, grid=grid)
        answer.scene_from_camera[..., :3, 3] *= metric[:, None, None]
        local = answer.local_points * metric[:, None, None, None, None]
        return ViewSet(local, answer.logits, answer.scene_from_camera, metric)

    def heads(self, decoded: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See ``Pi3Trunk.heads``."""
        size = (grid[0] * self.sizes.patch_size, grid[1] * self.sizes.patch_size)
        points = self.head_tokens(self.point_decoder, decoded, grid)
        confidence = self.head_tokens(self.conf_decoder, decoded, grid)
        with torch.autocast(points.device.type, enabled=False):
            slopes, log_depth = self.point_head(points, grid, size)
            local = local_points(slopes, log_depth.clamp(max=MOST_LOG_DEPTH))
            logits = self.conf_head(confidence, grid, size)[0][:, 0]
        return local, logits, *self.camera(decoded, grid)

    def largest_maps(self, pixels: int, frames: int) -> dict[str, int]:
        """See ``Pi3Trunk.largest_maps``."""
        channels = self.architecture.upsample[-1] + 2
        return {"map_channels": channels, "map_pixels": min(frames, VIEWS_AT_ONCE) * pixels}

    def metric(self, decoded: Tensor, grid: Grid) -> tuple[Tensor]:
        """The factor (B,) float32 that makes meters of the network's unit, from what the heads read (B, N, T, 2 D)."""
        scenes, views = decoded.shape[:2]
        table = self.rotary_table(grid, self.metric_decoder.head_dim).repeated(views)
        token = self.metric_token.expand(scenes, -1, -1)
        with torch.autocast(decoded.device.type, enabled=False):
            told: Tensor = self.metric_head(self.metric_decoder(token, decoded.flatten(1, 2), table).float())
        return (told[:, 0, 0].exp(),)

    def embedded_rays(self, rays: Tensor) -> tuple[Tensor]:
        """Rays (V, 2, H, W) to what is added to the tokens (V, P, D) of their views."""
        return (self.ray_embed(rays),)

    def encoded_depths(self, depths: Tensor) -> tuple[Tensor]:
        """Depths (V, H, W), 0 where unknown, to what is added to the tokens (V, P, D) of their views."""
        tokens = self.depth_encoder(torch.stack([depths, (depths > 0).to(depths.dtype)], dim=1))
        return (tokens[:, self.architecture.depth_encoder.specials :] + self.depth_emb,)

    def injected(
        self, tokens: Tensor, poses: Tensor, has_pose: Tensor | None = None, *, number: int, grid: Grid
    ) -> tuple[Tensor]:
        """Tokens (B, N, T, D) of the decoder, told the poses of the views that have one.

        Args:
            tokens: after the decoder's block of the number.
            poses: (B, N, 4, 4), as ``Conditions.prepared`` gives them.
            has_pose: (B, N) bool; None: all have one.
            number: one of ``inject_after``.
            grid: rows and columns of the patches.
        """
        a = self.architecture.trunk
        placing = CameraPlacing.of(poses, grid, a.encoder.width // a.decoder_heads, a.rope_base)
        registers, x = tokens[:, :, : a.registers], tokens[:, :, a.registers :]
        mask = None
        if has_pose is not None:
            mask = has_pose[..., None].expand(-1, -1, grid[0] * grid[1]).flatten(1)[:, None, None]
        block = self.pose_inject_blk[self.architecture.inject_after.index(number)]
        added = block(x.flatten(1, 2), placing, mask).view(x.shape)
        return (torch.cat([registers, x + _masked(added, has_pose)], dim=2),)

    def conditioned(self, features: Tensor, known: Conditions, stages: Stages) -> Tensor:
        """Tokens (B, N, P, D) with what is known of rays and depth; conditions as ``prepared`` gives them."""
        if known.rays is not None:
            [added] = stages["rays"](known.rays.flatten(0, 1))
            features = features + _masked(added.view(features.shape), known.has_rays)
        if known.depths is not None:
            [added] = stages["depths"](known.depths.flatten(0, 1))
            features = features + _masked(added.view(features.shape), known.has_depth)
        return features

    def injecting(self, known: Conditions, grid: Grid, stages: Stages) -> Callable[[int, Tensor], Tensor] | None:
        """What tells the decoder the poses between its blocks, or None when none is known."""
        if known.poses is None:
            return None
        told = [known.poses] if known.has_pose is None else [known.poses, known.has_pose]
        return lambda number, tokens: stages["inject"](tokens, *told, number=number, grid=grid)[0]


def _masked(added: Tensor, views: Tensor | None) -> Tensor:
    """What is added to tokens (B, N, P, D), for some of the views (B, N) or for all."""
    return added if views is None else torch.where(views[..., None, None], added, torch.zeros_like(added))
