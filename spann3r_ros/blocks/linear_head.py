"""The linear pointmap head of DUSt3R."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional


class LinearHead(nn.Module):
    """One linear layer from a token to the raw outputs of its patch."""

    def __init__(self, width: int, patch_size: int, channels: int = 4) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Linear(width, channels * patch_size**2)

    def forward(self, layers: Mapping[int, Tensor], grid: tuple[int, int]) -> Tensor:
        """Decoder layers (only the last is read) to raw outputs (B, channels, H, W)."""
        tokens = self.proj(layers[max(layers)])
        return functional.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, grid), self.patch_size)
