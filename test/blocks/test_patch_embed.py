from __future__ import annotations

import torch

from spann3r_ros.blocks.patch_embed import PatchEmbed, sine_cosine_positions


def test_patches_come_in_raster_order() -> None:
    embed = PatchEmbed(2, 1)
    torch.nn.init.constant_(embed.proj.weight, 1 / 12)
    torch.nn.init.zeros_(embed.proj.bias)
    image = torch.arange(6.0).view(1, 1, 2, 3).repeat_interleave(2, 2).repeat_interleave(2, 3).expand(1, 3, 4, 6)
    torch.testing.assert_close(embed(image)[0, :, 0], torch.arange(6.0))


def test_every_place_of_a_grid_has_its_own_embedding() -> None:
    table = sine_cosine_positions((6, 8), 32)
    assert table.shape == (48, 32) and table.abs().max() <= 1
    assert torch.cdist(table, table).fill_diagonal_(1).min() > 0.05
    torch.testing.assert_close(table[0, :16], table[7, :16])  # the same row
    torch.testing.assert_close(table[0, 16:], table[40, 16:])  # the same column
