from __future__ import annotations

import pytest
import torch

from spann3r_ros.blocks import attention
from spann3r_ros.blocks.rope import rotary_table


@pytest.mark.parametrize("tokens", [12, attention.SHORT_SEQUENCE + 1])
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
