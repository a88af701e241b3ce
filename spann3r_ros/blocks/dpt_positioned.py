"""The dense prediction head (DPT, Ranftl et al. 2021) in the form that VGGT uses: positions, one norm, any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .dpt_head import FusionBlock, enlarged

SHARE = 0.1
"""Of the positions in what they are added to."""

_BASE = 100.0


def position_waves(size: int, extent: float, channels: int, device: torch.device | str = "cpu") -> Tensor:
    """Sines, then cosines, (channels, size) float32, of ``size`` places along one axis.

    The places are spread evenly over +-``extent`` (size - 1) / size; channel j turns by 100^(-2 j / channels).
    """
    reach = extent * (size - 1) / size
    places = torch.linspace(-reach, reach, size, dtype=torch.float32, device=device).double()
    half = channels // 2
    frequency = _BASE ** (-torch.arange(half, dtype=torch.float64, device=device) / half)
    angle = frequency[:, None] * places
    return torch.cat([angle.sin(), angle.cos()]).float()


def add_positions(x: Tensor, aspect: float) -> Tensor:
    """Add a fixed embedding of the place in the image to maps (B, C, h, w), C a multiple of 4, in place; returns them.

    Half of the channels encode the column, half the row. The grid is the image whose half diagonal is 1.

    Args:
        x: maps; changed.
        aspect: width over height of the image.
    """
    half, diagonal = x.shape[1] // 2, math.hypot(aspect, 1.0)
    x[:, :half] += SHARE * position_waves(x.shape[3], aspect / diagonal, half, x.device)[:, None, :]
    x[:, half:] += SHARE * position_waves(x.shape[2], 1.0 / diagonal, half, x.device)[:, :, None]
    return x


class PositionedScratch(nn.Module):
    """The decoder of the pyramid and the output stack; the names are the published tensors'."""

    def __init__(self, widths: Sequence[int], width: int, last_width: int, channels: int) -> None:
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(level, width, 3, padding=1, bias=False) for level in widths
        )
        self.refinenet1, self.refinenet2, self.refinenet3 = (
            FusionBlock(width, has_skip=True, rectified=True) for _ in range(3)
        )
        self.refinenet4 = FusionBlock(width, has_skip=False, rectified=True)
        self.output_conv1 = nn.Conv2d(width, width // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(width // 2, last_width, 3, padding=1), nn.ReLU(), nn.Conv2d(last_width, channels, 1)
        )


class PositionedPyramid(nn.Module):
    """Four layers of tokens as a feature pyramid, fused from coarse to fine, up to the size of the image.

    Args:
        token_width: of all four layers.
        widths: channels of the four pyramid levels.
        width, last_width: channels of the fusion and of the output stack.
        channels: raw outputs per pixel.
        eps: of the norm, which the four levels share.
    """

    def __init__(
        self,
        token_width: int,
        widths: Sequence[int],
        width: int,
        last_width: int,
        channels: int,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        first, second, _, fourth = widths
        self.norm = nn.LayerNorm(token_width, eps=eps)
        self.projects = nn.ModuleList(nn.Conv2d(token_width, level, 1) for level in widths)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, stride=4),
                nn.ConvTranspose2d(second, second, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(fourth, fourth, 3, stride=2, padding=1),
            ]
        )
        self.scratch = PositionedScratch(widths, width, last_width, channels)

    def forward(self, layers: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Patch tokens (B, P, token_width) of four layers to raw outputs (B, channels, H, W).

        Args:
            layers: early to late.
            grid: rows and columns of the patches.
            size: (H, W) of the image.
        """
        aspect, scratch = size[1] / size[0], self.scratch
        narrow = (scratch.layer1_rn, scratch.layer2_rn, scratch.layer3_rn, scratch.layer4_rn)
        levels = [
            layer(resize(self.project(number, tokens, grid, aspect)))
            for number, (tokens, resize, layer) in enumerate(zip(layers, self.resize_layers, narrow, strict=True))
        ]
        path = scratch.refinenet4(levels[3], size=levels[2].shape[-2:])
        path = scratch.refinenet3(path, levels[2], size=levels[1].shape[-2:])
        path = scratch.refinenet2(path, levels[1], size=levels[0].shape[-2:])
        path = scratch.output_conv1(scratch.refinenet1(path, levels[0]))
        raw: Tensor = scratch.output_conv2(add_positions(enlarged(path, size), aspect))
        return raw

    def project(self, level: int, tokens: Tensor, grid: tuple[int, int], aspect: float) -> Tensor:
        """Tokens of a layer as a map (B, widths[level], *grid) with positions, before it is resized."""
        maps = self.norm(tokens).transpose(1, 2).unflatten(2, grid)
        return add_positions(self.projects[level](maps), aspect)
