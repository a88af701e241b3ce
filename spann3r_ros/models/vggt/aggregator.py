"""VGGT's aggregator (section 3.2 of the paper): tokens look at their own frame and at all frames in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.attention import HeadTensors
from spann3r_ros.blocks.dinov2 import Dinov2, normalized
from spann3r_ros.blocks.rope import RotaryTable, grid_positions, table_at
from spann3r_ros.blocks.transformer import EncoderBlock
from spann3r_ros.models.vggt.architecture import VggtArchitecture

AGGREGATOR_EPS = 1e-5

Grid = tuple[int, int]
Attention: TypeAlias = Callable[[int, HeadTensors], Tensor]
"""How the heads of a numbered global block attend, (B, heads, tokens, head_dim) as a result."""


class Features(NamedTuple):
    """What the heads read of B scenes of S frames.

    Attributes:
        camera: (B, S, 2 width) camera tokens of the last layer.
        patches: (B x S, P, 2 width) each, patch tokens of the layers that the dense heads read.
        size: (H, W) of the images.
    """

    camera: Tensor
    patches: tuple[Tensor, ...]
    size: tuple[int, int]


class Aggregator(nn.Module):
    """Attribute names are the published tensors' names."""

    def __init__(self, architecture: VggtArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        # One for the first frame of a scene, one for all others: nothing else tells frames apart.
        self.camera_token = nn.Parameter(0.02 * torch.randn(1, 2, 1, a.width))
        self.register_token = nn.Parameter(0.02 * torch.randn(1, 2, a.registers, a.width))
        self.patch_embed = Dinov2(a.encoder)
        self.frame_blocks, self.global_blocks = (
            nn.ModuleList(
                EncoderBlock(a.width, a.heads, a.mlp_ratio, eps=AGGREGATOR_EPS, head_norm=True, layer_scale=True)
                for _ in range(a.depth)
            )
            for _ in range(2)
        )
        self._tables: dict[tuple[Grid, torch.device], RotaryTable] = {}

    def forward(self, images: Tensor, specials: Tensor | None = None, attention: Attention | None = None) -> Features:
        """Images (B, S, 3, H, W) in [0, 1], H and W multiples of the patch, to what the heads read.

        Args:
            images: of B scenes.
            specials: (S, 1 + registers, width) special tokens of the frames; None: those of whole scenes.
            attention: of the global blocks; None: every token of a scene looks at every other.
        """
        a = self.architecture
        scenes, frames, size = images.shape[0], images.shape[1], (int(images.shape[-2]), int(images.shape[-1]))
        tokens = self.embed(images, specials)
        table = self.rotary_table((size[0] // a.patch_size, size[1] // a.patch_size), tokens.device)
        table_of_all = table.repeated(frames)
        kept: list[Tensor] = []
        for number, (within, across) in enumerate(zip(self.frame_blocks, self.global_blocks, strict=True)):
            in_frame = within(tokens, table)
            by = None if attention is None else partial(attention, number)
            tokens = across(in_frame.view(scenes, -1, a.width), table_of_all, by=by).view_as(in_frame)
            if number in a.layers:
                kept.append(torch.cat([in_frame[:, a.specials :], tokens[:, a.specials :]], dim=-1))
        camera = torch.cat([in_frame[:, 0], tokens[:, 0]], dim=-1).view(scenes, frames, -1)
        return Features(camera, tuple(kept), size)

    def embed(self, images: Tensor, specials: Tensor | None = None) -> Tensor:
        """Tokens (B x S, 1 + registers + P, width): the camera's, the registers', the patches' in raster order."""
        scenes, frames = images.shape[:2]
        encoded = self.patch_embed(normalized(images.flatten(0, 1).to(self.camera_token.dtype)))
        patches = encoded[:, self.architecture.encoder.specials :]
        if specials is None:
            others = self.special_tokens(begins=False).expand(frames - 1, -1, -1)
            specials = torch.cat([self.special_tokens(begins=True), others])
        return torch.cat([specials.repeat(scenes, 1, 1), patches], dim=1)

    def special_tokens(self, begins: bool) -> Tensor:
        """Camera token and registers (1, 1 + registers, width) of the first frame of a scene, or of any other."""
        both = torch.cat([self.camera_token, self.register_token], dim=2)[0]
        return both[:1] if begins else both[1:]

    def rotary_table(self, grid: Grid, device: torch.device) -> RotaryTable:
        """Places of one frame's tokens: special ones at 0, patches from 1; made once per size and device."""
        a, key = self.architecture, (grid, device)
        if key not in self._tables:
            # Made outside inference mode, so that a training step can use it too.
            with torch.inference_mode(False):
                places = grid_positions(grid, offset=1, specials=a.specials, device=device)
                self._tables[key] = table_at(places, a.width // a.heads, a.rope_base)
        return self._tables[key]
