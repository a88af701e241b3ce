from __future__ import annotations

import pytest
import torch

from spann3r_ros.blocks import attention
from spann3r_ros.blocks.rope import rotary_table, rotate


@pytest.mark.parametrize("tokens", [12, 257])
def test_short_and_long_sequences_attend_by_the_formula(tokens: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, tokens, 8, generator=generator) for _ in range(3))
    expected = torch.softmax(q @ k.transpose(-2, -1) / 8**0.5, dim=-1) @ v
    torch.testing.assert_close(attention.attend(q, k, v), expected, rtol=1e-4, atol=1e-5)


def test_without_a_table_tokens_have_no_order() -> None:
    torch.manual_seed(0)
    layer = attention.SelfAttention(16, 2)
    x, order = torch.randn(1, 6, 16), torch.randperm(6)
    torch.testing.assert_close(layer(x, None)[:, order], layer(x[:, order], None))
    table = rotary_table((2, 3), 8, 100.0)
    assert not torch.allclose(layer(x, table)[:, order], layer(x[:, order], table))


def test_views_of_different_grids_attend_to_each_other() -> None:
    torch.manual_seed(0)
    layer = attention.CrossAttention(16, 2)
    out = layer(
        torch.randn(2, 6, 16), torch.randn(2, 4, 16), rotary_table((2, 3), 8, 100.0), rotary_table((1, 4), 8, 100.0)
    )
    assert out.shape == (2, 6, 16)


@pytest.mark.parametrize("tokens", [12, 257])
def test_a_mask_hides_keys(tokens: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, tokens, 8, generator=generator) for _ in range(3))
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    found = attention.attend(q, k, v, mask)
    torch.testing.assert_close(
        found[:, :, 4:5], attention.attend(q[:, :, 4:5], k[:, :, :5], v[:, :, :5]), rtol=1e-4, atol=1e-5
    )


def test_queries_and_keys_may_be_normalized_head_by_head_before_they_turn() -> None:
    torch.manual_seed(0)
    layer, x = attention.SelfAttention(16, 2, head_norm=True), torch.randn(1, 6, 16)
    table = rotary_table((2, 3), 8, 9.0)
    layer.k_norm.weight.data.mul_(torch.rand(8))
    plain = layer.qkv(x)[..., 16:32].view(1, 6, 2, 8).transpose(1, 2)
    normed = torch.layer_norm(plain, (8,), layer.k_norm.weight, layer.k_norm.bias, 1e-5)
    torch.testing.assert_close(layer.split(x, table).key, rotate(normed, table))
    torch.testing.assert_close(layer.split(x, None).value, layer.qkv(x)[..., 32:].view(1, 6, 2, 8).transpose(1, 2))
