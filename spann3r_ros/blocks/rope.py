"""Two-dimensional rotary position embedding (RoPE, Su et al. 2021, as in CroCo v2: "RoPE100")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RotaryTable(NamedTuple):
    """Cosines and sines of one token grid, always float32: rounded angles would cost more than rounded activations.

    Attributes:
        cos, sin: (P, 2, head_dim / 4); axis 1 is (row, column), P tokens in raster order.
    """

    cos: Tensor
    sin: Tensor


def rotary_table(grid: tuple[int, int], head_dim: int, base: float, device: torch.device | str = "cpu") -> RotaryTable:
    """Table of a (rows, columns) grid for heads of ``head_dim`` channels, a multiple of 4."""
    rows, columns = grid
    quarter = head_dim // 4
    frequency = base ** (-torch.arange(quarter, device=device, dtype=torch.float32) / quarter)
    y, x = torch.meshgrid(
        torch.arange(rows, device=device, dtype=torch.float32),
        torch.arange(columns, device=device, dtype=torch.float32),
        indexing="ij",
    )
    angle = torch.stack([y, x], dim=-1).reshape(-1, 2, 1) * frequency
    return RotaryTable(angle.cos(), angle.sin())


def rotate(x: Tensor, table: RotaryTable) -> Tensor:
    """Rotate queries or keys (B, heads, P, head_dim): the first half of a head by the row, the second by the column.

    Channel j of a half is paired with channel j + quarter.
    """
    first, second = x.unflatten(-1, (2, 2, -1)).unbind(-2)
    rotated = torch.stack(
        [first * table.cos - second * table.sin, second * table.cos + first * table.sin],
        dim=-2,
    )
    return rotated.flatten(-3).to(x.dtype)
