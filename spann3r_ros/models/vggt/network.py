"""The network of VGGT (Wang et al. 2025): images of a scene in, its cameras, depths and points out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.dpt_positioned import PositionedPyramid
from spann3r_ros.models.pointmap import Pointmap
from spann3r_ros.models.vggt.aggregator import Aggregator, Features
from spann3r_ros.models.vggt.architecture import VggtArchitecture
from spann3r_ros.models.vggt.camera_head import CameraAttention, CameraHead

HEAD_FRAMES = 2
"""Frames that a dense head takes at a time: its maps at full size are the largest tensors of all."""


def depth_from_raw(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Raw channels (B, S, 2, H, W) to depth and confidence, both (B, S, H, W)."""
    return raw[:, :, 0].exp(), 1 + raw[:, :, 1].exp()


def points_from_raw(raw: Tensor) -> Pointmap:
    """Raw channels (B, S, 4, H, W) to points (B, S, H, W, 3) and confidence (B, S, H, W)."""
    return Pointmap(coordinates_from_raw(raw[:, :, :3].movedim(2, -1)), 1 + raw[:, :, 3].exp())


def coordinates_from_raw(raw: Tensor) -> Tensor:
    """The inverse of y = sign(x) log(1 + |x|), number by number."""
    return raw.sign() * torch.expm1(raw.abs())


class VggtNetwork(nn.Module):
    """Attribute names are the published tensors' names. The published head that tracks points is absent."""

    def __init__(self, architecture: VggtArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.aggregator = Aggregator(a)
        self.camera_head = CameraHead(a)
        sizes = (2 * a.width, a.dpt_layer_widths, a.dpt_width, a.dpt_last_width)
        if a.has_depth:
            self.depth_head = PositionedPyramid(*sizes, channels=2)
        if a.has_points:
            self.point_head = PositionedPyramid(*sizes, channels=4)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the aggregator; the heads stay in float32."""
        return self.aggregator.camera_token.dtype

    def set_precision(self, dtype: torch.dtype) -> None:
        """Convert the aggregator; the heads stay in float32."""
        for name, module in self.named_children():
            module.to(dtype if name == "aggregator" else torch.float32)

    def cameras(self, features: Features, attention: CameraAttention | None = None) -> Tensor:
        """Encodings (iterations, B, S, 9) of the cameras; the last iteration is the answer; see ``camera``."""
        with torch.autocast(features.camera.device.type, enabled=False):
            encodings: Tensor = self.camera_head(features.camera.float(), attention)
            return encodings

    def depths(self, features: Features) -> tuple[Tensor, Tensor]:
        """Depth along the optical axes and its confidence, at least 1, both (B, S, H, W)."""
        return depth_from_raw(self._dense(self.depth_head, features))

    def points(self, features: Features) -> Pointmap:
        """Points (B, S, H, W, 3) in the first camera's frame and their confidence (B, S, H, W)."""
        return points_from_raw(self._dense(self.point_head, features))

    def _dense(self, head: nn.Module, features: Features) -> Tensor:
        """Raw outputs (B, S, channels, H, W); frames are independent of each other."""
        patch = self.architecture.patch_size
        grid = (features.size[0] // patch, features.size[1] // patch)
        count = len(features.patches[0])
        with torch.autocast(features.camera.device.type, enabled=False):
            parts = [
                head([tokens[start : start + HEAD_FRAMES].float() for tokens in features.patches], grid, features.size)
                for start in range(0, count, HEAD_FRAMES)
            ]
        raw = torch.cat(parts)
        return raw.view(*features.camera.shape[:2], *raw.shape[1:])
