"""SALAD's network: DINOv2 (Oquab et al. 2023) and Sinkhorn's assignment of patches to clusters.

Izquierdo and Civera, "Optimal Transport Aggregation for Visual Place Recognition" (CVPR 2024), section 3. Attribute
names are the published tensors' names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from spann3r_ros.blocks.dinov2 import Dinov2
from spann3r_ros.errors import FrameError
from spann3r_ros.models.salad.architecture import SaladArchitecture

DROPOUT = 0.3
"""Inside the aggregation, in training only."""


@dataclass(frozen=True, eq=False)
class Aggregation:
    """How descriptors came about.

    Attributes:
        score: (B, m, n) how well each of n patches fits each of m clusters.
        assignment: (B, m + 1, n) what was made of it; the last row is what no cluster wants.
        descriptors: (B, D) float32 of unit length.
    """

    score: Tensor
    assignment: Tensor
    descriptors: Tensor


class TransportAggregator(nn.Module):
    """Features of patches and class token to a descriptor; float32 in any precision."""

    def __init__(self, architecture: SaladArchitecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        width = a.encoder.width
        self.token_features = nn.Sequential(nn.Linear(width, a.hidden), nn.ReLU(), nn.Linear(a.hidden, a.token_width))
        self.cluster_features = _perceptron(width, a.hidden, a.cluster_width)
        self.score = _perceptron(width, a.hidden, a.clusters)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))

    def forward(self, features: Tensor, token: Tensor) -> Aggregation:
        """Features (B, D, h, w) and class tokens (B, D); FrameError unless there are more patches than clusters."""
        gathered, score = self.cluster_features(features).flatten(2), self.score(features).flatten(2)
        assignment = transport(score, self.dust_bin, self.architecture.iterations)
        clusters = torch.einsum("bln,bkn->blk", gathered, assignment[:, :-1])
        parts = [functional.normalize(self.token_features(token)), functional.normalize(clusters, dim=1).flatten(1)]
        return Aggregation(score, assignment, functional.normalize(torch.cat(parts, dim=1)))


def transport(score: Tensor, dust_bin: Tensor, iterations: int) -> Tensor:
    """Patches shared out among clusters, each of which takes as much as a patch has, and a bin for the rest.

    Args:
        score: (B, m, n), n > m.
        dust_bin: the score of every patch for the bin.
        iterations: of Sinkhorn's algorithm, in logarithms.

    Returns:
        (B, m + 1, n); every column sums to 1.

    Raises:
        FrameError: no more patches than clusters.
    """
    count, clusters, patches = score.shape
    if patches <= clusters:
        raise FrameError("patches of an image", got=patches, expected=f"more than the {clusters} clusters")
    scores = torch.cat([score, dust_bin.expand(count, 1, patches)], dim=1)
    share = -math.log(patches + clusters)
    rows = torch.full((clusters + 1,), share, dtype=scores.dtype, device=scores.device)
    rows[-1] = share + math.log(patches - clusters)
    u, v = torch.zeros_like(scores[:, :, 0]), torch.zeros_like(scores[:, 0])
    for _ in range(iterations):
        u = rows - torch.logsumexp(scores + v[:, None, :], dim=2)
        v = share - torch.logsumexp(scores + u[:, :, None], dim=1)
    return torch.exp(scores + u[:, :, None] + v[:, None, :] - share)


class SaladNetwork(nn.Module):
    """Images to descriptors."""

    def __init__(self, architecture: SaladArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = nn.ModuleDict({"model": Dinov2(architecture.encoder)})
        self.aggregator = TransportAggregator(architecture)

    def set_precision(self, dtype: torch.dtype) -> None:
        """Arithmetic of the encoder; the aggregation is fp32 in every precision."""
        self.backbone.to(dtype)
        self.aggregator.float()

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W), normalized by ImageNet's colors, to patch features (B, D, h, w) and tokens (B, D)."""
        encoder = self.backbone["model"]
        assert isinstance(encoder, Dinov2)
        patch = self.architecture.patch_size
        tokens = encoder(images.to(encoder.cls_token.dtype)).float()
        grid = (images.shape[-2] // patch, images.shape[-1] // patch)
        return tokens[:, 1:].transpose(1, 2).unflatten(2, grid), tokens[:, 0]

    def aggregate(self, images: Tensor) -> Aggregation:
        """All that ``forward`` goes through."""
        features, token = self.encode(images)
        with torch.autocast(features.device.type, enabled=False):
            aggregation: Aggregation = self.aggregator(features, token)
        return aggregation

    def forward(self, images: Tensor) -> Tensor:
        """Descriptors (B, D) float32 of images as ``encode`` takes them."""
        return self.aggregate(images).descriptors


def _perceptron(width: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, hidden, 1), nn.Dropout(DROPOUT), nn.ReLU(), nn.Conv2d(hidden, outputs, 1))
