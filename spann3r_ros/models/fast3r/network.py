"""The network of Fast3R (Yang et al. 2025): an encoder, one transformer over all views, and two pointmap heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.activation import confidence_from_raw, points_from_raw
from spann3r_ros.blocks.attention import Attending, attend
from spann3r_ros.blocks.dpt_head import DptHead, Pyramid
from spann3r_ros.blocks.patch_embed import PatchEmbed
from spann3r_ros.blocks.rope import RotaryTable, rotary_table
from spann3r_ros.blocks.transformer import NORM_EPS, EncoderBlock
from spann3r_ros.models.dust3r.network import Grid, Layers
from spann3r_ros.models.fast3r.architecture import Fast3rArchitecture
from spann3r_ros.models.fast3r.image_ids import id_embedding
from spann3r_ros.models.pointmap import Pointmap

GLOBAL, LOCAL = "downstream_head", "downstream_head_local"
"""The two heads: pointmaps in the first view's camera, and in each view's own."""

FUSION_EPS = 1e-5
"""Of the norms inside the fusion's blocks; all others have ``NORM_EPS``."""

SHARPNESS = math.sqrt(math.log(137) / math.log(20))
"""What the logits are multiplied by where ``sharp_attention`` asks for it."""

HEAD_VIEWS = 4
"""Views that a head sees at once; its maps are large."""


Stage: TypeAlias = Callable[..., tuple[Tensor, ...]]


class Stages(NamedTuple):
    """What the network's work consists of, as functions of tensors.

    Attributes:
        encode: images (B, 3, H, W) to their features (B, P, encoder width).
        fuse: features (B, N, encoder width) and ids (B, N, width) of all views' tokens to the layers (B, N, width) that
            the heads read after the input; see ``Fast3rFusion``.
        head: all layers (B, P, width) of a view to points (B, H, W, 3) and confidence (B, H, W); ``head``: its name,
            ``grid``: of the view.
    """

    encode: Stage
    fuse: Stage
    head: Stage


class Fast3rEncoder(nn.Module):
    """DUSt3R's image encoder."""

    def __init__(self, a: Fast3rArchitecture) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(a.patch_size, a.encoder_width)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(a.encoder_width, a.encoder_heads, a.mlp_ratio) for _ in range(a.encoder_depth)
        )
        self.enc_norm = nn.LayerNorm(a.encoder_width, eps=NORM_EPS)

    def forward(self, images: Tensor, table: RotaryTable) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to features (B, P, encoder width)."""
        tokens = self.patch_embed(images)
        for block in self.enc_blocks:
            tokens = block(tokens, table)
        features: Tensor = self.enc_norm(tokens)
        return features


class AllViewsBlock(EncoderBlock):
    """Attention among the tokens of all views, without positions."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, sharpness: float) -> None:
        super().__init__(width, heads, mlp_ratio, eps=FUSION_EPS)
        self.sharpness = sharpness

    def forward(
        self, x: Tensor, table: RotaryTable | None = None, mask: Tensor | None = None, by: Attending | None = None
    ) -> Tensor:
        """Tokens (B, P, width) to tokens of the same shape; arguments as of ``EncoderBlock``."""
        return super().forward(x, table, mask, by or (None if self.sharpness == 1.0 else self._sharply(mask)))

    def _sharply(self, mask: Tensor | None) -> Attending:
        return lambda heads: attend(heads.query * self.sharpness, heads.key, heads.value, mask)


class Fast3rFusion(nn.Module):
    """The transformer over all views; its published name is "decoder"."""

    def __init__(self, a: Fast3rArchitecture, sharpness: float) -> None:
        super().__init__()
        width = a.decoder_width
        self.decoder_embed = nn.Linear(a.encoder_width, width)
        self.dec_blocks = nn.ModuleList(
            AllViewsBlock(width, a.decoder_heads, a.mlp_ratio, sharpness) for _ in range(a.decoder_depth)
        )
        self.dec_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.hooks = a.hooks

    def forward(self, features: Tensor, ids: Tensor) -> Layers:
        """Layers that the heads read by number; 0 is the input, the last is normalized.

        Args:
            features: (B, P, encoder width) of all views, one view after the other.
            ids: (B, P, width) embedding of the view that each token belongs to.
        """
        layers = {0: features}
        tokens = self.decoder_embed(features) + ids
        for number, block in enumerate(self.dec_blocks, start=1):
            tokens = block(tokens)
            if number in self.hooks:
                layers[number] = tokens
        layers[len(self.dec_blocks)] = self.dec_norm(tokens)
        return layers


class Fast3rNetwork(nn.Module):
    """A set of images in, pointmaps of all in the camera of the first out, and those of each in its own camera.

    Attribute names are the published tensors' names.
    """

    def __init__(self, architecture: Fast3rArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.encoder = Fast3rEncoder(a)
        self.decoder = Fast3rFusion(a, SHARPNESS if a.sharp_attention else 1.0)
        self.downstream_head = _head(a)
        if a.local_head:
            self.downstream_head_local = _head(a)
        self._tables: dict[tuple[Grid, torch.device], RotaryTable] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Precision of encoder and fusion; the heads stay in float32."""
        return self.encoder.enc_norm.weight.dtype

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads that it has."""
        return (GLOBAL, LOCAL) if self.architecture.local_head else (GLOBAL,)

    def set_precision(self, dtype: torch.dtype) -> None:
        """Convert encoder and fusion; the heads stay in float32."""
        for name, module in self.named_children():
            module.to(torch.float32 if name in (GLOBAL, LOCAL) else dtype)

    def grid(self, images: Tensor) -> Grid:
        """Rows and columns of the tokens of images (B, 3, H, W)."""
        patch = self.architecture.patch_size
        return images.shape[-2] // patch, images.shape[-1] // patch

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to features (B, P, encoder width)."""
        a, key = self.architecture, (self.grid(images), images.device)
        if key not in self._tables:
            self._tables[key] = rotary_table(key[0], a.encoder_width // a.encoder_heads, a.rope_base, images.device)
        features: Tensor = self.encoder(images, self._tables[key])
        return features

    @property
    def stages(self) -> Stages:
        """Its own functions."""
        return Stages(lambda images: (self.encode(images),), self._fused, self._seen)

    def fuse(self, features: Sequence[Tensor], ids: Tensor, fused: Stage | None = None) -> list[Layers]:
        """Features (B, P_i, encoder width) of all views to the layers that the heads read, by view.

        Args:
            features: the first view's camera is the frame of the global pointmaps.
            ids: (B, views) int64 rows of the table of image ids.
            fused: what computes it, as in ``Stages``; None: the network.
        """
        counts = [view.shape[1] for view in features]
        embedded = id_embedding(ids, self.architecture.decoder_width).to(features[0].device, self.dtype)
        repeats = torch.tensor(counts, device=embedded.device)
        embedded = embedded.repeat_interleave(repeats, dim=1, output_size=sum(counts))
        together = torch.cat(list(features), dim=1)
        layers = together, *(fused or self._fused)(together, embedded)
        views = zip(*(tokens.split_with_sizes(counts, dim=1) for tokens in layers), strict=True)
        return [dict(zip(self.architecture.hooks, view, strict=True)) for view in views]

    def pointmap(self, head: str, layers: Layers, grid: Grid) -> Pointmap:
        """Pointmap by the head of that name; float32 in any precision."""
        a = self.architecture
        with torch.autocast(layers[0].device.type, enabled=False):
            tokens = {number: layer.float() for number, layer in layers.items()}
            raw = self.get_submodule(head)(tokens, grid).permute(0, 2, 3, 1)
            return Pointmap(
                points_from_raw(raw[..., :3], a.depth_mode),
                confidence_from_raw(raw[..., 3], a.confidence_mode, *a.confidence_range),
            )

    def _fused(self, features: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        layers: Layers = self.decoder(features, ids)
        return tuple(layers[number] for number in self.architecture.hooks[1:])

    def _seen(self, *layers: Tensor, head: str, grid: Grid) -> Pointmap:
        return self.pointmap(head, dict(zip(self.architecture.hooks, layers, strict=True)), grid)

    def forward(
        self, images: Sequence[Tensor], ids: Tensor, heads: Sequence[str] | None = None, by: Stages | None = None
    ) -> dict[str, list[Pointmap]]:
        """Pointmaps of all views by head; views of one size are encoded, and seen by a head, together.

        Args:
            images: (B, 3, H_i, W_i) of each view in [-1, 1].
            ids: (B, views) int64.
            heads: names of those that are wanted; None: all.
            by: what computes it; None: the network.
        """
        by, groups = by or self.stages, _by_size(images)
        features = _in_groups(groups, lambda views: by.encode(torch.cat([images[view] for view in views]))[0])
        layers = self.fuse(features, ids, by.fuse)
        halves = [views[start : start + HEAD_VIEWS] for views in groups for start in range(0, len(views), HEAD_VIEWS)]
        found: dict[str, list[Pointmap]] = {}
        for head in self.heads if heads is None else heads:
            pointmaps: dict[int, Pointmap] = {}
            for views in halves:
                together = [torch.cat([layers[view][number] for view in views]) for number in layers[views[0]]]
                points, confidence = by.head(*together, head=head, grid=self.grid(images[views[0]]))
                split = zip(points.chunk(len(views)), confidence.chunk(len(views)), strict=True)
                pointmaps |= {view: Pointmap(*parts) for view, parts in zip(views, split, strict=True)}
            found[head] = [pointmaps[view] for view in range(len(images))]
        return found


def _by_size(images: Sequence[Tensor]) -> list[list[int]]:
    """Numbers of the views of each size."""
    groups: dict[torch.Size, list[int]] = {}
    for view, image in enumerate(images):
        groups.setdefault(image.shape, []).append(view)
    return list(groups.values())


def _in_groups(groups: Sequence[Sequence[int]], run: Callable[[Sequence[int]], Tensor]) -> list[Tensor]:
    """What ``run`` gives for the views of each group, by view."""
    found: Mapping[int, Tensor] = {
        view: part for views in groups for view, part in zip(views, run(views).chunk(len(views)), strict=True)
    }
    return [found[view] for view in range(len(found))]


def _head(a: Fast3rArchitecture) -> DptHead:
    widths = [a.encoder_width] + 3 * [a.decoder_width]
    return DptHead(Pyramid(widths, a.hooks, a.dpt_layer_widths, a.dpt_width, a.dpt_last_width))
