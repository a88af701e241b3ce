"""How Pi3X tells the scale (section 8.2 of the specification of pi^3): one token looks at those of all views."""

from __future__ import annotations

from torch import Tensor, nn

from spann3r_ros.blocks.attention import attend
from spann3r_ros.blocks.rope import RotaryTable, rotate
from spann3r_ros.blocks.transformer import NORM_EPS, Mlp


class ScaleAttention(nn.Module):
    """Cross-attention in which only the keys have places."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, context: Tensor, table: RotaryTable) -> Tensor:
        """Tokens (B, Q, width) that look at others (B, K, width), whose places the table holds."""
        query, key, value = (
            self._split(self.q_proj(x)),
            self._split(self.k_proj(context)),
            self._split(self.v_proj(context)),
        )
        merged: Tensor = self.proj(attend(query, rotate(key, table), value).transpose(1, 2).flatten(2))
        return merged

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class ScaleBlock(nn.Module):
    """Cross-attention and MLP, each with a residual."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm2, self.norm_y, self.norm3 = (nn.LayerNorm(width, eps=NORM_EPS) for _ in range(3))
        self.cross_attn = ScaleAttention(width, heads)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x: Tensor, context: Tensor, table: RotaryTable) -> Tensor:
        """As of ``ScaleAttention``."""
        x = x + self.cross_attn(self.norm2(x), self.norm_y(context), table)
        out: Tensor = x + self.mlp(self.norm3(x))
        return out


class MetricDecoder(nn.Module):
    """Blocks in which a token looks at a context that stays as it is."""

    def __init__(self, context_width: int, width: int, heads: int, depth: int, mlp_ratio: float) -> None:
        super().__init__()
        self.head_dim = width // heads
        self.projects_x, self.projects_y = nn.Linear(context_width, width), nn.Linear(context_width, width)
        self.blocks = nn.ModuleList(ScaleBlock(width, heads, mlp_ratio) for _ in range(depth))
        self.linear_out = nn.Linear(width, width)

    def forward(self, token: Tensor, context: Tensor, table: RotaryTable) -> Tensor:
        """Token (B, 1, 2 D) and context (B, N T, 2 D) to (B, 1, width)."""
        x, context = self.projects_x(token), self.projects_y(context)
        for block in self.blocks:
            x = block(x, context, table)
        out: Tensor = self.linear_out(x)
        return out
