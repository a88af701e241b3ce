from __future__ import annotations

import torch

from spann3r_ros.blocks.linear_head import LinearHead


def test_channels_are_ordered_by_output_then_row_then_column() -> None:
    head = LinearHead(4, patch_size=2)
    torch.nn.init.zeros_(head.proj.weight)
    head.proj.bias.data = torch.arange(16.0)
    raw = head({3: torch.zeros(1, 6, 4)}, (2, 3))
    assert raw.shape == (1, 4, 4, 6)
    assert raw[0, 2, :2, :2].tolist() == [[8, 9], [10, 11]] and raw[0, 2, 2:, 4:].tolist() == [[8, 9], [10, 11]]
