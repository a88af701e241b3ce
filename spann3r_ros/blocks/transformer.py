"""Pre-norm transformer blocks of the encoder and of the twin decoders (CroCo v2, DUSt3R), and their later relatives."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .attention import Attending, CrossAttention, SelfAttention
from .rope import RotaryTable

NORM_EPS = 1e-6


class Mlp(nn.Sequential):
    """Tokens (B, P, width) to (B, P, out): two linear layers with the exact GELU between them; ``out`` None: width."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        first = nn.Linear(width, hidden)
        super().__init__(OrderedDict(fc1=first, act=nn.GELU(), fc2=nn.Linear(hidden, width if out is None else out)))


class LayerScale(nn.Module):
    """A learned factor for each channel of what a residual adds (Touvron et al. 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        return x * self.gamma


class EncoderBlock(nn.Module):
    """Self-attention and MLP, each with a residual.

    Args:
        width, heads, mlp_ratio: of the tokens and of the hidden layer.
        eps: of both layer norms.
        head_norm: see ``SelfAttention``.
        layer_scale: whether each residual has a ``LayerScale``.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_ratio: float = 4.0,
        *,
        eps: float = NORM_EPS,
        head_norm: bool = False,
        layer_scale: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = SelfAttention(width, heads, head_norm)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        if layer_scale:
            self.ls1, self.ls2 = LayerScale(width), LayerScale(width)
        self.layer_scale = layer_scale

    def forward(
        self, x: Tensor, table: RotaryTable | None, mask: Tensor | None = None, by: Attending | None = None
    ) -> Tensor:
        """Tokens (B, P, width) to tokens of the same shape; ``mask`` and ``by`` as of ``SelfAttention``."""
        attended = self.attn(self.norm1(x), table, mask, by)
        if not self.layer_scale:
            x = x + attended
            return x + self.mlp(self.norm2(x))
        x = x + self.ls1(attended)
        return x + self.ls2(self.mlp(self.norm2(x)))


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention to the other view, and MLP, each with a residual."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.norm_y = nn.LayerNorm(width, eps=NORM_EPS)
        self.cross_attn = CrossAttention(width, heads)
        self.norm3 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x: Tensor, other: Tensor, table: RotaryTable | None, other_table: RotaryTable | None) -> Tensor:
        """Own tokens (B, P, width) and those of the other view (B, Q, width) to own tokens."""
        x = x + self.attn(self.norm1(x), table)
        x = x + self.cross_attn(self.norm2(x), self.norm_y(other), table, other_table)
        return x + self.mlp(self.norm3(x))
