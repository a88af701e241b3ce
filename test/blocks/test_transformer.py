from __future__ import annotations

import torch

from spann3r_ros.blocks.attention import attend
from spann3r_ros.blocks.rope import rotary_table
from spann3r_ros.blocks.transformer import DecoderBlock, EncoderBlock, Mlp


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


def test_options_of_a_block_change_what_they_say() -> None:
    torch.manual_seed(0)
    block = EncoderBlock(16, 2, eps=1e-5, head_norm=True, layer_scale=True).requires_grad_(False)
    for parameter in block.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    x, table = torch.randn(2, 6, 16), rotary_table((2, 3), 8, 100.0)
    after = x + block.ls1.gamma * block.attn(block.norm1(x), table)
    torch.testing.assert_close(block(x, table), after + block.ls2.gamma * block.mlp(block.norm2(after)))
    assert block.norm1.eps == block.norm2.eps == 1e-5 and block.attn.q_norm.eps == block.attn.k_norm.eps == 1e-5


def test_a_block_may_attend_to_more_than_its_tokens() -> None:
    torch.manual_seed(0)
    block, x, table = EncoderBlock(16, 2, layer_scale=True), torch.randn(1, 6, 16), rotary_table((2, 3), 8, 100.0)
    attended = block.attn.merged(attend(*block.attn.split(block.norm1(x), table)))
    torch.testing.assert_close(block.finish(x, attended), block(x, table))


def test_an_mlp_may_have_another_width_at_its_end() -> None:
    assert Mlp(8, 4, 3)(torch.randn(2, 5, 8)).shape == (2, 5, 3)


def test_cross_attention_may_do_without_places() -> None:
    torch.manual_seed(0)
    block, x, other = DecoderBlock(16, 2), torch.randn(1, 6, 16), torch.randn(1, 5, 16)
    torch.testing.assert_close(block(x, other, None, None), block(x, other.flip(1), None, None))
