"""Images and pointmaps as tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """A linear map of each square patch: (B, channels, H, W) to (B, P, width), patches in raster order."""

    def __init__(self, patch_size: int, width: int, channels: int = 3) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """H and W are multiples of the patch size; the caller has checked it."""
        patches = self.proj(x.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2)
        return patches.contiguous()  # or every residual and norm that follows would run across memory


def sine_cosine_positions(grid: tuple[int, int], width: int, device: torch.device | str = "cpu") -> Tensor:
    """Fixed absolute embedding (P, width) of a (rows, columns) grid; width a multiple of 4.

    Half of the channels encode the row, half the column, over the frequencies of Vaswani et al. 2017.
    """
    rows, columns = grid
    quarter = width // 4
    frequency = 10000.0 ** (-torch.arange(quarter, device=device, dtype=torch.float32) / quarter)
    y = torch.arange(rows, device=device, dtype=torch.float32)[:, None] * frequency
    x = torch.arange(columns, device=device, dtype=torch.float32)[:, None] * frequency
    along_y = torch.cat([y.sin(), y.cos()], dim=-1)[:, None].expand(rows, columns, -1)
    along_x = torch.cat([x.sin(), x.cos()], dim=-1)[None].expand(rows, columns, -1)
    return torch.cat([along_y, along_x], dim=-1).flatten(0, 1)
