"""Multi-head self- and cross-attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from .rope import RotaryTable, rotate

HEAD_NORM_EPS = 1e-5
"""Of the norms of queries and keys, in every network that has them; their blocks' own norms differ."""


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """``softmax(q k^T / sqrt(d)) v`` per head; all (B, heads, tokens, head_dim).

    Args:
        query, key, value: of the heads.
        mask: bool, True where a query (rows) may look at a key (columns); None: everywhere.
    """
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class HeadTensors(NamedTuple):
    """Queries, keys and values (B, heads, P, head_dim), normalized and rotated as far as the layer does that."""

    query: Tensor
    key: Tensor
    value: Tensor


Attending: TypeAlias = Callable[[HeadTensors], Tensor]
"""How the heads of some tokens attend, (B, heads, P, head_dim) as a result: to themselves, or to a cache as well."""


class SelfAttention(nn.Module):
    """Attention of tokens (B, P, width) among themselves.

    Args:
        width, heads: of the tokens.
        head_norm: layer norms of queries and keys, one each for all heads, before they are rotated.
    """

    def __init__(self, width: int, heads: int, head_norm: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        if head_norm:
            self.q_norm = nn.LayerNorm(width // heads, eps=HEAD_NORM_EPS)
            self.k_norm = nn.LayerNorm(width // heads, eps=HEAD_NORM_EPS)
        self.head_norm = head_norm
        self.proj = nn.Linear(width, width)

    def forward(
        self, x: Tensor, table: RotaryTable | None, mask: Tensor | None = None, by: Attending | None = None
    ) -> Tensor:
        """Attend; without a table the tokens have no order; ``by`` takes the place of ``attend``."""
        heads = self.split(x, table)
        return self.merged(attend(*heads, mask) if by is None else by(heads))

    def split(self, x: Tensor, table: RotaryTable | None) -> HeadTensors:
        """Queries, keys and values of tokens, ready to attend; ``merged`` makes tokens of the result."""
        heads = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        turning, value = heads[:2], heads[2]
        if self.head_norm:
            turning = torch.stack([self.q_norm(turning[0]), self.k_norm(turning[1])])
        if table is not None:
            turning = rotate(turning, table)
        return HeadTensors(turning[0], turning[1], value)

    def merged(self, attended: Tensor) -> Tensor:
        """(B, heads, P, head_dim) to tokens (B, P, width)."""
        merged: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return merged


class CrossAttention(nn.Module):
    """Attention of tokens (B, P, width) to those of another view (B, Q, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(width, width)
        self.projk = nn.Linear(width, width)
        self.projv = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, other: Tensor, table: RotaryTable | None, other_table: RotaryTable | None) -> Tensor:
        """Attend from ``x`` to ``other``, each with the positions of its own grid, or none."""
        query, key, value = self._heads(self.projq(x)), self._heads(self.projk(other)), self._heads(self.projv(other))
        if table is not None:
            query = rotate(query, table)
        if other_table is not None:
            key = rotate(key, other_table)
        return self.proj(attend(query, key, value).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
