from __future__ import annotations

import torch

from spann3r_ros.blocks.rope import rotary_table
from spann3r_ros.blocks.transformer import DecoderBlock, EncoderBlock


def test_an_encoder_block_is_two_residuals() -> None:
    torch.manual_seed(0)
    block, x, table = EncoderBlock(16, 2), torch.randn(2, 6, 16), rotary_table((2, 3), 8, 100.0)
    after = x + block.attn(block.norm1(x), table)
    hidden = torch.nn.functional.gelu(block.mlp.fc1(block.norm2(after)), approximate="none")
    torch.testing.assert_close(block(x, table), after + block.mlp.fc2(hidden))
    assert block.norm1.eps == 1e-6 and block.mlp.fc1.out_features == 64


def test_a_decoder_block_looks_at_the_other_view_once_normalized_by_its_own_layer() -> None:
    torch.manual_seed(0)
    block = DecoderBlock(16, 2)
    x, other, table = torch.randn(1, 6, 16), torch.randn(1, 6, 16), rotary_table((2, 3), 8, 100.0)
    a = x + block.attn(block.norm1(x), table)
    b = a + block.cross_attn(block.norm2(a), block.norm_y(other), table, table)
    torch.testing.assert_close(block(x, other, table, table), b + block.mlp(block.norm3(b)))
    assert not torch.allclose(block(x, other, table, table), block(x, other.flip(1), table, table))
