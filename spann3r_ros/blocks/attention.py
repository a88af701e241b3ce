"""Multi-head self- and cross-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .rope import RotaryTable, rotate

# Below this many keys PyTorch's fused CPU kernel is slower than two matrix products and a softmax.
SHORT_SEQUENCE = 256


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(d)) v`` per head; all (B, heads, tokens, head_dim)."""
    if query.is_cuda or key.shape[-2] > SHORT_SEQUENCE:
        return functional.scaled_dot_product_attention(query, key, value)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return torch.softmax(scores, dim=-1) @ value


class SelfAttention(nn.Module):
    """Attention of tokens (B, P, width) among themselves."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, table: RotaryTable | None) -> Tensor:
        """Attend; without a table the tokens have no order."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if table is not None:
            query, key = rotate(query, table), rotate(key, table)
        return self.proj(attend(query, key, value).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Attention of tokens (B, P, width) to those of another view (B, Q, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(width, width)
        self.projk = nn.Linear(width, width)
        self.projv = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, other: Tensor, table: RotaryTable, other_table: RotaryTable) -> Tensor:
        """Attend from ``x`` to ``other``, each with the positions of its own grid."""
        query = rotate(self._heads(self.projq(x)), table)
        key = rotate(self._heads(self.projk(other)), other_table)
        value = self._heads(self.projv(other))
        return self.proj(attend(query, key, value).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
