"""The network of DUSt3R (Wang et al. 2024): a shared encoder, twin decoders and two pointmap heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.activation import confidence_from_raw, points_from_raw
from spann3r_ros.blocks.dpt_head import DptHead, Pyramid
from spann3r_ros.blocks.linear_head import LinearHead
from spann3r_ros.blocks.patch_embed import PatchEmbed, sine_cosine_positions
from spann3r_ros.blocks.rope import RotaryTable, rotary_table
from spann3r_ros.blocks.transformer import NORM_EPS, DecoderBlock, EncoderBlock
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.pointmap import Pointmap

Grid = tuple[int, int]
Layers = dict[int, Tensor]


class Dust3rNetwork(nn.Module):
    """Two images in, two pointmaps in the camera of the first out. Attribute names are the published tensors' names."""

    def __init__(self, architecture: Dust3rArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.patch_embed = PatchEmbed(a.patch_size, a.encoder_width)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(a.encoder_width, a.encoder_heads, a.mlp_ratio) for _ in range(a.encoder_depth)
        )
        self.enc_norm = nn.LayerNorm(a.encoder_width, eps=NORM_EPS)
        self.decoder_embed = nn.Linear(a.encoder_width, a.decoder_width)
        self.dec_blocks, self.dec_blocks2 = (
            nn.ModuleList(DecoderBlock(a.decoder_width, a.decoder_heads, a.mlp_ratio) for _ in range(a.decoder_depth))
            for _ in range(2)
        )
        self.dec_norm = nn.LayerNorm(a.decoder_width, eps=NORM_EPS)
        self.downstream_head1 = self.new_head()
        self.downstream_head2 = self.new_head()
        self._tables: dict[tuple[Grid, int, torch.device], RotaryTable] = {}

    def new_head(self) -> nn.Module:
        """What makes four raw outputs a pixel (x, y, z, confidence) of the decoder layers of one branch."""
        a = self.architecture
        if a.head == "linear":
            return LinearHead(a.decoder_width, a.patch_size)
        widths = [a.encoder_width] + 3 * [a.decoder_width]
        return DptHead(Pyramid(widths, a.hooks, a.dpt_layer_widths, a.dpt_width, a.dpt_last_width))

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the trunk; the heads stay in float32."""
        return self.enc_norm.weight.dtype

    def set_precision(self, dtype: torch.dtype) -> None:
        """Convert the trunk; the heads stay in float32."""
        for name, module in self.named_children():
            module.to(torch.float32 if name.startswith("downstream_head") else dtype)

    def grid(self, images: Tensor) -> Grid:
        """Rows and columns of the tokens of images (B, 3, H, W)."""
        patch = self.architecture.patch_size
        return int(images.shape[-2]) // patch, int(images.shape[-1]) // patch

    def rotary_table(self, grid: Grid, head_dim: int, device: torch.device) -> RotaryTable:
        """The table of a grid, made once per size and device."""
        key = (grid, head_dim, device)
        if key not in self._tables:
            # Made outside inference mode, so that a training step can use it too.
            with torch.inference_mode(False):
                self._tables[key] = rotary_table(grid, head_dim, self.architecture.rope_base, device)
        return self._tables[key]

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to features (B, P, encoder width)."""
        a = self.architecture
        grid = self.grid(images)
        tokens = self.patch_embed(images)
        if a.absolute_position:
            tokens = tokens + sine_cosine_positions(grid, a.encoder_width, tokens.device).to(tokens.dtype)
        table = self.rotary_table(grid, a.encoder_width // a.encoder_heads, tokens.device)
        for block in self.enc_blocks:
            tokens = block(tokens, table)
        features: Tensor = self.enc_norm(tokens)
        return features

    def decode(self, features1: Tensor, features2: Tensor, grid1: Grid, grid2: Grid) -> tuple[Layers, Layers]:
        """Features of two views to the decoder layers of both branches that the heads read, by number.

        Layer 0 is the decoder's input (encoder width); the last is normalized; both branches look at the other's
        previous layer, so they advance together.
        """
        a = self.architecture
        head_dim = a.decoder_width // a.decoder_heads
        table1 = self.rotary_table(grid1, head_dim, features1.device)
        table2 = self.rotary_table(grid2, head_dim, features2.device)
        wanted = a.hooks if a.head == "dpt" else (a.decoder_depth,)
        layers1, layers2 = {0: features1}, {0: features2}
        tokens1, tokens2 = self.decoder_embed(features1), self.decoder_embed(features2)
        for number, (block1, block2) in enumerate(zip(self.dec_blocks, self.dec_blocks2, strict=True), start=1):
            tokens1, tokens2 = block1(tokens1, tokens2, table1, table2), block2(tokens2, tokens1, table2, table1)
            if number in wanted:
                layers1[number], layers2[number] = tokens1, tokens2
        layers1[a.decoder_depth], layers2[a.decoder_depth] = self.dec_norm(tokens1), self.dec_norm(tokens2)
        return layers1, layers2

    def layers_of(self, features: Tensor, decoded: Sequence[Tensor]) -> Layers:
        """``Layers`` of one branch: its input, and the others in their order."""
        a = self.architecture
        wanted = a.hooks if a.head == "dpt" else ()
        numbers = sorted({*wanted, a.decoder_depth} - {0})
        return {0: features, **dict(zip(numbers, decoded, strict=True))}

    def head_outputs(self, *layers: Tensor, branch: int, grid: Grid) -> tuple[Tensor, Tensor]:
        """``pointmap`` of the tensors of ``Layers`` alone."""
        return self.pointmap(branch, self.layers_of(layers[0], layers[1:]), grid)

    def pointmap(self, branch: int, layers: Layers, grid: Grid) -> Pointmap:
        """Pointmap of branch 1 (the first view) or 2, in the first view's camera; float32 in any precision."""
        a = self.architecture
        head = self.downstream_head1 if branch == 1 else self.downstream_head2
        with torch.autocast(layers[0].device.type, enabled=False):
            raw = head({number: tokens.float() for number, tokens in layers.items()}, grid).permute(0, 2, 3, 1)
            return Pointmap(
                points_from_raw(raw[..., :3], a.depth_mode),
                confidence_from_raw(raw[..., 3], a.confidence_mode, *a.confidence_range),
            )

    def forward(self, images1: Tensor, images2: Tensor) -> tuple[Pointmap, Pointmap]:
        """Pointmaps of two batches of images (B, 3, H, W), both in the cameras of the first."""
        grid1, grid2 = self.grid(images1), self.grid(images2)
        if images1.shape == images2.shape:
            features1, features2 = self.encode(torch.cat([images1, images2])).chunk(2)
        else:
            features1, features2 = self.encode(images1), self.encode(images2)
        layers1, layers2 = self.decode(features1, features2, grid1, grid2)
        return self.pointmap(1, layers1, grid1), self.pointmap(2, layers2, grid2)
