"""The convolutional heads of Pi3X (section 8.1 of the specification of pi^3): tokens to maps of the image's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Grid = tuple[int, int]

VIEWS_AT_ONCE = 8
"""A view of 574 x 434 takes 66 MB in the last stage; the numbers do not depend on it."""

GROUP_CHANNELS = 32


def _conv3(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1, padding_mode="replicate")


class ResidualConvolution(nn.Module):
    """Two normalized convolutions with a residual; the hidden layer is twice as wide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.layers = nn.Sequential(
            nn.GroupNorm(1, channels),
            nn.ReLU(),
            _conv3(channels, hidden),
            nn.GroupNorm(hidden // GROUP_CHANNELS, hidden),
            nn.ReLU(),
            _conv3(hidden, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(V, channels, h, w) to the same shape."""
        inner: Tensor = self.layers(x)
        return x + inner


class DenseHead(nn.Module):
    """Three stages that double the resolution, then a small convolution for each output.

    Args:
        width: of the tokens.
        upsample: channels of the stages.
        last_width: channels before an output.
        outputs: channels of each output.
    """

    def __init__(self, width: int, upsample: Sequence[int], last_width: int, outputs: Sequence[int]) -> None:
        super().__init__()
        self.upsample_blocks = nn.ModuleList(
            nn.Sequential(
                nn.Sequential(nn.ConvTranspose2d(before + 2, after, 2, stride=2), _conv3(after, after)),
                ResidualConvolution(after),
                ResidualConvolution(after),
            )
            for before, after in zip([width, *upsample[:-1]], upsample, strict=True)
        )
        self.output_block = nn.ModuleList(
            nn.Sequential(_conv3(upsample[-1] + 2, last_width), nn.ReLU(), nn.Conv2d(last_width, channels, 1))
            for channels in outputs
        )

    def forward(self, tokens: Tensor, grid: Grid, size: Grid) -> list[Tensor]:
        """Tokens (V, P, width) of a (rows, columns) grid to an output (V, channels, H, W) each."""
        maps = tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
        parts = [self._some(some, size) for some in torch.split(maps, VIEWS_AT_ONCE)]
        return parts[0] if len(parts) == 1 else [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def _some(self, maps: Tensor, size: Grid) -> list[Tensor]:
        for stage in self.upsample_blocks:
            maps = stage(with_places(maps, size))
        maps = functional.interpolate(maps, size, mode="bilinear", align_corners=False)
        maps = with_places(maps, size)
        return [block(maps) for block in self.output_block]


def with_places(maps: Tensor, size: Grid) -> Tensor:
    """Maps (V, C, h, w) with two more channels: where a pixel lies in an image of the shape of ``size``, (u, v).

    The image's diagonal goes from -1 to 1; the centers of the outer pixels lie half a pixel inside.
    """
    rows, columns = int(maps.shape[-2]), int(maps.shape[-1])  # of a trace they are tensors
    aspect = size[1] / size[0]
    diagonal = (1 + aspect**2) ** 0.5
    right, down = aspect / diagonal * (columns - 1) / columns, (rows - 1) / rows / diagonal
    u = torch.linspace(-right, right, columns, device=maps.device, dtype=maps.dtype)
    v = torch.linspace(-down, down, rows, device=maps.device, dtype=maps.dtype)
    places = torch.stack([u.expand(rows, -1), v[:, None].expand(-1, columns)])
    return torch.cat([maps, places.expand(len(maps), -1, -1, -1)], dim=1)
