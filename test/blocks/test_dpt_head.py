from __future__ import annotations

import pytest
import torch

from spann3r_ros.blocks.dpt_head import DptHead, FusionBlock, Pyramid, double


@pytest.mark.parametrize("grid", [(3, 5), (4, 4), (1, 2)])
def test_odd_and_even_grids_give_sixteen_pixels_a_token(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    head = DptHead(Pyramid([8, 6, 6, 6], (0, 2, 3, 4), (4, 4, 6, 6), 8, 4))
    tokens = grid[0] * grid[1]
    layers = {n: torch.randn(2, tokens, 8 if n == 0 else 6) for n in range(5)}
    assert head(layers, grid).shape == (2, 4, 16 * grid[0], 16 * grid[1])


def test_the_convolution_may_stand_before_the_interpolation() -> None:
    torch.manual_seed(0)
    block = FusionBlock(6, has_skip=True)
    path, skip = torch.randn(1, 6, 3, 5), torch.randn(1, 6, 3, 5)
    published = block.out_conv(double(block.resConfUnit2(path + block.resConfUnit1(skip))))
    torch.testing.assert_close(block(path, skip), published, rtol=1e-5, atol=1e-6)
