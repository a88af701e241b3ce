"""Two-dimensional rotary position embedding (RoPE, Su et al. 2021, as in CroCo v2: "RoPE100")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RotaryTable(NamedTuple):
    """Cosines and sines of tokens, always float32: rounded angles would cost more than rounded activations.

    Attributes:
        cos: (P, head_dim), P tokens in their order: what each channel of a head keeps of itself.
        sin: (P, head_dim): what it takes of its partner, with the sign.
    """

    cos: Tensor
    sin: Tensor

    def repeated(self, frames: int) -> RotaryTable:
        """For as many frames of the same grid, one after the other."""
        return RotaryTable(self.cos.repeat(frames, 1), self.sin.repeat(frames, 1))


def grid_positions(
    grid: tuple[int, int],
    offset: int = 0,
    specials: int = 0,
    special_position: int = 0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Places (P, 2) float32 of tokens, (row, column) each: special tokens first, then the patches in raster order.

    Args:
        grid: rows and columns of the patches.
        offset: of the first patch's row and column.
        specials: tokens that stand before the patches.
        special_position: row and column of all of them; at 0 a token is not turned, and a negative place turns back.
        device: where the result is made.
    """
    rows, columns = grid
    y, x = torch.meshgrid(
        torch.arange(offset, offset + rows, device=device, dtype=torch.float32),
        torch.arange(offset, offset + columns, device=device, dtype=torch.float32),
        indexing="ij",
    )
    patches = torch.stack([y, x], dim=-1).reshape(-1, 2)
    return torch.cat([torch.full((specials, 2), float(special_position), device=device), patches])


def table_at(positions: Tensor, head_dim: int, base: float) -> RotaryTable:
    """Table of tokens at any places (P, 2), negative ones too, for heads of ``head_dim`` channels, a multiple of 4."""
    quarter = head_dim // 4
    frequency = base ** (-torch.arange(quarter, device=positions.device, dtype=torch.float32) / quarter)
    angle = positions.float().unsqueeze(-1) * frequency  # (P, 2, quarter): of the row, and of the column
    cos, sin = angle.cos(), angle.sin()
    return RotaryTable(torch.stack([cos, cos], -2).flatten(1), torch.stack([-sin, sin], -2).flatten(1))


def rotary_table(grid: tuple[int, int], head_dim: int, base: float, device: torch.device | str = "cpu") -> RotaryTable:
    """Table of a (rows, columns) grid that begins at (0, 0), without special tokens."""
    return table_at(grid_positions(grid, device=device), head_dim, base)


def rotate(x: Tensor, table: RotaryTable) -> Tensor:
    """Rotate queries or keys (..., P, head_dim): the first half of a head by the row, the second by the column.

    Channel j of a half is paired with channel j + quarter. Few operations matter more than few multiplications: on a
    GPU each is a launch, on a CPU a pass over memory.
    """
    first, second, third, fourth = x.chunk(4, dim=-1)
    partners = torch.cat([second, first, fourth, third], dim=-1)  # twice as fast as Tensor.flip on a CPU
    return torch.addcmul(x * table.cos, partners, table.sin).to(x.dtype)
