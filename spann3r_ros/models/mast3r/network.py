"""The network of MASt3R (Leroy et al. 2024, section 3.1): DUSt3R with a head of descriptors beside each DPT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spann3r_ros.blocks.activation import confidence_from_raw
from spann3r_ros.blocks.dpt_head import DptHead
from spann3r_ros.blocks.transformer import Mlp
from spann3r_ros.models.dust3r.network import Dust3rNetwork, Grid, Layers
from spann3r_ros.models.mast3r.architecture import Mast3rArchitecture
from spann3r_ros.models.pointmap import Pointmap

NORM_FLOOR = 1e-12
"""A descriptor of no length at all stays zero instead of becoming NaN."""


class Descriptors(NamedTuple):
    """Output of a head of descriptors, float32: (B, H, W, D) of unit length, and their confidence (B, H, W) > 0."""

    vectors: Tensor
    confidence: Tensor


class CatMlpDptHead(nn.Module):
    """Points by a DPT, and descriptors by an MLP on each token; the names are the published tensors'."""

    def __init__(self, points: nn.Module, width: int, hidden: int, channels: int, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.dpt = points
        self.head_local_features = Mlp(width, hidden, channels * patch_size**2)

    def forward(self, layers: Mapping[int, Tensor], grid: Grid) -> Tensor:
        """Decoder layers by number to the raw outputs of points (B, 4, H, W)."""
        raw: Tensor = self.dpt(layers, grid)
        return raw

    def describe(self, layers: Mapping[int, Tensor], grid: Grid) -> Tensor:
        """Decoder layers to raw descriptors (B, channels, H, W): first and last layer of a token, side by side."""
        tokens = self.head_local_features(torch.cat([layers[0], layers[max(layers)]], dim=-1))
        return functional.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, grid), self.patch_size)


class Mast3rNetwork(Dust3rNetwork):
    """Two images in, two pointmaps in the camera of the first and two maps of descriptors out."""

    architecture: Mast3rArchitecture

    def __init__(self, architecture: Mast3rArchitecture) -> None:
        super().__init__(architecture)

    def new_head(self) -> nn.Module:  # noqa: D102
        a = self.architecture
        points = super().new_head()
        assert isinstance(points, DptHead)
        width = a.encoder_width + a.decoder_width
        channels = a.descriptor_width + a.descriptor_confidence
        return CatMlpDptHead(points.dpt, width, int(a.descriptor_mlp_ratio * width), channels, a.patch_size)

    def descriptors(
        self, branch: int, layers: Layers, grid: Grid, points_confidence: Tensor | None = None
    ) -> Descriptors:
        """Descriptors of branch 1 (the first view) or 2; float32 in any precision.

        Args:
            branch: 1 or 2.
            layers: of that branch, from ``decode``.
            grid: rows and columns of its tokens.
            points_confidence: (B, H, W) of its pointmap, which a network without a confidence of descriptors takes;
                None: it is computed where it is needed.
        """
        a = self.architecture
        head = self.downstream_head1 if branch == 1 else self.downstream_head2
        assert isinstance(head, CatMlpDptHead)
        with torch.autocast(layers[0].device.type, enabled=False):
            ends = {number: layers[number].float() for number in (0, a.decoder_depth)}
            raw = head.describe(ends, grid).permute(0, 2, 3, 1)
            vectors = functional.normalize(raw[..., : a.descriptor_width], dim=-1, eps=NORM_FLOOR)
            if a.descriptor_confidence:
                mode, bounds = a.descriptor_confidence_mode, a.descriptor_confidence_range
                return Descriptors(vectors, confidence_from_raw(raw[..., a.descriptor_width], mode, *bounds))
        if points_confidence is None:
            points_confidence = self.pointmap(branch, layers, grid).confidence
        return Descriptors(vectors, points_confidence)

    def described(self, branch: int, layers: Layers, grid: Grid) -> tuple[Pointmap, Descriptors]:
        """Pointmap and descriptors of one branch."""
        pointmap = self.pointmap(branch, layers, grid)
        return pointmap, self.descriptors(branch, layers, grid, pointmap.confidence)
