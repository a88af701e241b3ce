"""The network of pi^3: a set of images in no order, a pointmap and a pose for each (Wang et al. 2025)."""

from __future__ import annotations

import torch
from torch import Tensor

from spann3r_ros.blocks.linear_head import LinearHead
from spann3r_ros.models.pi3.architecture import Pi3Architecture
from spann3r_ros.models.pi3.trunk import Grid, Pi3Trunk, Stages, ViewSet, local_points


class Pi3Network(Pi3Trunk):
    """Images of scenes to a ``ViewSet``. Attribute names are the published tensors' names."""

    def __init__(self, architecture: Pi3Architecture) -> None:
        super().__init__(architecture)
        self.architecture = architecture
        self.point_head = LinearHead(architecture.head_out, architecture.patch_size, 3)
        self.conf_head = LinearHead(architecture.head_out, architecture.patch_size, 1)

    def forward(self, images: Tensor, stages: Stages | None = None) -> ViewSet:
        """Images (B, N, 3, H, W) in [0, 1], H and W multiples of the patch; other ``stages`` may do the work."""
        stages, grid = stages or self.stages(), self.grid(images)
        return self.answered(self.decode(self.encode(images, stages), grid, stages), grid, stages)

    def heads(self, decoded: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See ``Pi3Trunk.heads``."""
        points = self.head_tokens(self.point_decoder, decoded, grid)
        confidence = self.head_tokens(self.conf_decoder, decoded, grid)
        with torch.autocast(points.device.type, enabled=False):
            raw = self.point_head({0: points}, grid)
            logits = self.conf_head({0: confidence}, grid)[:, 0]
            local = local_points(raw[:, :2], raw[:, 2:])
        return local, logits, *self.camera(decoded, grid)
