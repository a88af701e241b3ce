from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from spann3r_ros.blocks.dpt_positioned import PositionedPyramid, add_positions


def test_positions_are_waves_over_an_image_of_half_diagonal_one() -> None:
    aspect, rows, columns, channels = 1.5, 3, 4, 8
    found = add_positions(torch.zeros(1, channels, rows, columns), aspect)[0]
    diagonal = math.sqrt(aspect**2 + 1)
    for row in range(rows):
        for column in range(columns):
            x = (2 * column - (columns - 1)) / columns * aspect / diagonal
            y = (2 * row - (rows - 1)) / rows / diagonal
            expected = [
                wave(place * 100 ** (-j / 2)) for place in (x, y) for wave in (math.sin, math.cos) for j in (0, 1)
            ]
            torch.testing.assert_close(found[:, row, column], 0.1 * torch.tensor(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("grid", [(3, 5), (4, 4), (1, 2)])
def test_levels_meet_in_every_size_and_the_skip_is_rectified(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    head = PositionedPyramid(12, (4, 8, 8, 12), 8, 6, 2).requires_grad_(False)
    layers = [torch.randn(2, grid[0] * grid[1], 12) for _ in range(4)]
    size = (14 * grid[0], 14 * grid[1])
    found = head(layers, grid, size)
    assert found.shape == (2, 2, *size)

    def grown(x: torch.Tensor, like: tuple[int, ...]) -> torch.Tensor:
        return functional.interpolate(x, size=like[-2:], mode="bilinear", align_corners=True)

    def unit(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) + layer.conv2(torch.relu(layer.conv1(torch.relu(x))))  # type: ignore[operator]

    scratch, levels = head.scratch, []
    for number in range(4):
        maps = head.projects[number](head.norm(layers[number]).transpose(1, 2).unflatten(2, grid))
        resized = head.resize_layers[number](add_positions(maps, grid[1] / grid[0]))
        levels.append(getattr(scratch, f"layer{number + 1}_rn")(resized))
    path = unit(scratch.refinenet4.resConfUnit2, levels[3])
    for number in (3, 2, 1):
        path = getattr(scratch, f"refinenet{number + 1}").out_conv(grown(path, levels[number - 1].shape))
        block = getattr(scratch, f"refinenet{number}")
        path = unit(block.resConfUnit2, path + unit(block.resConfUnit1, levels[number - 1]))
    doubled = functional.interpolate(path, scale_factor=2, mode="bilinear", align_corners=True)
    path = scratch.output_conv1(scratch.refinenet1.out_conv(doubled))
    path = grown(path, size)
    expected = scratch.output_conv2(add_positions(path, grid[1] / grid[0]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_frames_are_independent() -> None:
    torch.manual_seed(0)
    head = PositionedPyramid(12, (4, 8, 8, 12), 8, 6, 4).requires_grad_(False)
    layers = [torch.randn(3, 6, 12) for _ in range(4)]
    together = head(layers, (2, 3), (28, 42))
    alone = head([tokens[1:2] for tokens in layers], (2, 3), (28, 42))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)
