"""The image encoder DINOv2 (Oquab et al. 2023), with or without registers (Darcet et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .patch_embed import PatchEmbed
from .sizes import DinoSizes
from .transformer import NORM_EPS, EncoderBlock

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalized(images: Tensor) -> Tensor:
    """RGB images (..., 3, H, W) in [0, 1] less ImageNet's mean over its standard deviation, as DINOv2 takes them."""
    channels = zip(images.unbind(-3), IMAGENET_MEAN, IMAGENET_STD, strict=True)
    return torch.stack([(channel - mean) / deviation for channel, mean, deviation in channels], dim=-3)


class Dinov2(nn.Module):
    """A vision transformer with learned positions. Attribute names are the published tensors' names.

    The published ``mask_token`` plays no part in inference and is absent.
    """

    def __init__(self, sizes: DinoSizes) -> None:
        super().__init__()
        self.sizes = s = sizes
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, s.width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + s.native_grid**2, s.width))
        if s.registers:
            self.register_tokens = nn.Parameter(0.02 * torch.randn(1, s.registers, s.width))
        self.patch_embed = PatchEmbed(s.patch_size, s.width, s.channels)
        self.blocks = nn.ModuleList(
            EncoderBlock(s.width, s.heads, s.mlp_ratio, layer_scale=True) for _ in range(s.depth)
        )
        self.norm = nn.LayerNorm(s.width, eps=NORM_EPS)
        self._kept: tuple[tuple, Tensor] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W), normalized, H and W multiples of the patch, to tokens (B, specials + P, width).

        The tokens are normalized; their order is class token, registers, patches in raster order.
        """
        tokens = self.embed(images)
        for block in self.blocks:
            tokens = block(tokens, None)
        normalized: Tensor = self.norm(tokens)
        return normalized

    def embed(self, images: Tensor) -> Tensor:
        """The tokens that enter the first block; registers have no position."""
        patch = self.sizes.patch_size
        patches = self.patch_embed(images)
        positions = self.positions((images.shape[-2] // patch, images.shape[-1] // patch)).to(patches.dtype)
        count = images.shape[0]  # not len(): a trace would take it for a constant
        parts = [(self.cls_token + positions[:, :1]).expand(count, -1, -1), patches + positions[:, 1:]]
        if self.sizes.registers:
            parts.insert(1, self.register_tokens.expand(count, -1, -1))
        return torch.cat(parts, dim=1)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Learned positions (1, 1 + P, width) of the class token and of a (rows, columns) grid, resized in float32.

        Where they are not trained, those of the last grid are kept.
        """
        side, learned = self.sizes.native_grid, self.pos_embed
        if grid == (side, side):
            return learned
        if learned.requires_grad or learned.is_inference():
            return self._resized(grid)
        key = (grid, learned.data_ptr(), learned._version, learned.device)
        kept = self._kept
        if kept is None or kept[0] != key:
            with torch.inference_mode(False), torch.no_grad():
                kept = self._kept = key, self._resized(grid)
        return kept[1]

    def _resized(self, grid: tuple[int, int]) -> Tensor:
        side = self.sizes.native_grid
        stored = self.pos_embed.float()
        square = stored[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        if self.sizes.resize == "exact":
            resized = functional.interpolate(square, size=grid, mode="bicubic", antialias=True)
        else:
            # The kernel takes its step from the factor, so that the tenth moves every sample a little.
            factors = ((grid[0] + 0.1) / side, (grid[1] + 0.1) / side)
            resized = functional.interpolate(square, scale_factor=factors, mode="bicubic")
        return torch.cat([stored[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)
