from __future__ import annotations

import math

import torch

from spann3r_ros.blocks.rope import grid_positions, rotary_table, rotate, table_at


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


def test_special_tokens_stand_before_patches_that_begin_where_they_are_told() -> None:
    places = grid_positions((2, 3), offset=1, specials=2)
    assert places.tolist() == [[0, 0], [0, 0], [1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
    assert grid_positions((1, 2), specials=1, special_position=-1).tolist() == [[-1, -1], [0, 0], [0, 1]]
    assert torch.equal(grid_positions((2, 2)), torch.cartesian_prod(torch.arange(2.0), torch.arange(2.0)))


def test_place_zero_does_not_turn_and_a_negative_one_turns_back() -> None:
    x = torch.randn(1, 2, 3, 8, generator=torch.Generator().manual_seed(0))
    table = table_at(torch.tensor([[0, 0], [-1, -1], [1, 1]]), 8, 100.0)
    assert torch.equal(rotate(x, table)[:, :, 0], x[:, :, 0])
    there = rotate(x[:, :, :2], table_at(torch.tensor([[3, -2], [1, 5]]), 8, 100.0))
    back = rotate(there, table_at(torch.tensor([[-3, 2], [-1, -5]]), 8, 100.0))
    torch.testing.assert_close(back, x[:, :, :2])


def test_a_table_may_be_repeated_for_frames_of_one_grid() -> None:
    table = rotary_table((2, 3), 8, 100.0)
    x = torch.randn(1, 2, 18, 8, generator=torch.Generator().manual_seed(0))
    apart = torch.cat([rotate(frame, table) for frame in x.split(6, dim=2)], dim=2)
    assert torch.equal(rotate(x, table.repeated(3)), apart)
