from __future__ import annotations

import math

import torch

from spann3r_ros.blocks.rope import rotary_table, rotate


def test_channels_turn_by_row_and_column_as_the_formula_says() -> None:
    grid, dim, base = (2, 3), 16, 100.0
    x = torch.randn(1, 1, 6, dim, generator=torch.Generator().manual_seed(0))
    rotated = rotate(x, rotary_table(grid, dim, base))
    half, quarter = dim // 2, dim // 4
    for token in range(6):
        for axis, position in enumerate((token // 3, token % 3)):
            for j in range(quarter):
                angle = position * base ** (-j / quarter)
                a, b = x[0, 0, token, axis * half + j], x[0, 0, token, axis * half + j + quarter]
                first = a * math.cos(angle) - b * math.sin(angle)
                second = b * math.cos(angle) + a * math.sin(angle)
                torch.testing.assert_close(rotated[0, 0, token, axis * half + j], first)
                torch.testing.assert_close(rotated[0, 0, token, axis * half + j + quarter], second)


def test_products_depend_on_distances_only() -> None:
    table = rotary_table((4, 4), 8, 100.0)
    q = torch.randn(8, generator=torch.Generator().manual_seed(1)).expand(1, 1, 16, 8)
    k = torch.randn(8, generator=torch.Generator().manual_seed(2)).expand(1, 1, 16, 8)
    scores = (rotate(q, table) @ rotate(k, table).transpose(-2, -1))[0, 0].view(4, 4, 4, 4)
    torch.testing.assert_close(scores[0, 0, 1, 2], scores[2, 1, 3, 3])
    assert not torch.isclose(scores[0, 0, 1, 2], scores[0, 0, 2, 1])


def test_angles_stay_exact_in_low_precision() -> None:
    table = rotary_table((64, 64), 64, 100.0)
    x = torch.ones(1, 1, 64 * 64, 64, dtype=torch.bfloat16)
    rotated = rotate(x, table)
    assert rotated.dtype == torch.bfloat16 and table.cos.dtype == torch.float32
    torch.testing.assert_close(rotated.float(), rotate(x.float(), table), atol=2**-7, rtol=0)
