"""The network of VGGT (Wang et al. 2025): images of a scene in, its cameras, depths and points out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.dpt_positioned import PositionedPyramid
from spann3r_ros.models.pointmap import Pointmap
from spann3r_ros.models.vggt.aggregator import Aggregator, Features
from spann3r_ros.models.vggt.architecture import VggtArchitecture
from spann3r_ros.models.vggt.camera_head import CameraAttention, CameraHead

Dense: TypeAlias = Callable[..., tuple[Tensor, ...]]
"""``VggtNetwork.dense``, or what gives the same."""

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


def in_parts(dense: Dense, head: str, features: Features) -> tuple[Tensor, Tensor]:
    """``VggtNetwork.dense`` of all frames of all scenes (B x S), a few at a time."""
    parts = [
        dense(*(tokens[start : start + HEAD_FRAMES] for tokens in features.patches), head=head, size=features.size)
        for start in range(0, len(features.patches[0]), HEAD_FRAMES)
    ]
    values, confidence = zip(*parts, strict=True)
    return torch.cat(values), torch.cat(confidence)


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

    def dense(self, *patches: Tensor, head: str, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What a dense head says of frames, each by itself, float32 in any precision.

        Args:
            patches: (N, P, 2 width) of N frames, by layer as in ``Features``.
            head: ``depth``: depths (N, H, W); ``point``: points (N, H, W, 3); both with their confidence (N, H, W).
            size: (H, W) of the images.
        """
        patch = self.architecture.patch_size
        with torch.autocast(patches[0].device.type, enabled=False):
            grid = (size[0] // patch, size[1] // patch)
            raw = self.get_submodule(f"{head}_head")([tokens.float() for tokens in patches], grid, size)[None]
        values, confidence = depth_from_raw(raw) if head == "depth" else points_from_raw(raw)
        return values[0], confidence[0]

    def depths(self, features: Features) -> tuple[Tensor, Tensor]:
        """Depth along the optical axes and its confidence, at least 1, both (B, S, H, W)."""
        return self._in_parts("depth", features)

    def points(self, features: Features) -> Pointmap:
        """Points (B, S, H, W, 3) in the first camera's frame and their confidence (B, S, H, W)."""
        return Pointmap(*self._in_parts("point", features))

    def _in_parts(self, head: str, features: Features) -> tuple[Tensor, Tensor]:
        values, confidence = in_parts(self.dense, head, features)
        scenes = features.camera.shape[:2]
        return values.view(*scenes, *values.shape[1:]), confidence.view(*scenes, *confidence.shape[1:])
