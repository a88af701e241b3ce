"""Sizes of Fast3R's networks. The defaults are the official ViT-Large ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spann3r_ros.blocks.sizes import MOST_DEPTH, MOST_HEADS, MOST_RATIO, MOST_WIDTH, check_heads, check_sizes
from spann3r_ros.errors import ConfigError

MOST_VIEWS = 1000
"""Rows of the published table of image ids."""


@dataclass(frozen=True)
class Fast3rArchitecture:
    """DUSt3R's encoder and heads, and one transformer over the tokens of all views instead of the twin decoders.

    Attributes:
        patch_size: side of a patch in pixels.
        encoder_width, encoder_depth, encoder_heads: of the image encoder.
        decoder_width, decoder_depth, decoder_heads: of the transformer over all views.
        mlp_ratio: hidden width of an MLP over the width of its block.
        rope_base: base of the rotary position embedding in the encoder; the fusion has no positions.
        dpt_width, dpt_last_width, dpt_layer_widths: channels inside the heads.
        depth_mode: how a raw output becomes a point: ``exp``, ``linear`` or ``square``.
        confidence_mode: how a raw output becomes a confidence: ``exp`` or ``sigmoid``.
        confidence_range: smallest and largest confidence.
        local_head: whether there is a second head, for pointmaps in each view's own camera.
        random_image_ids: whether the views after the first have ids drawn from the whole table, not 1, 2, 3 ...
        sharp_attention: whether the logits of the fusion are scaled up by a constant, for more views than in training.
        image_size: (height, width) in pixels that the weights were made for.
        metric: whether the pointmaps are in meters.
    """

    patch_size: int = 16
    encoder_width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    decoder_width: int = 1024
    decoder_depth: int = 24
    decoder_heads: int = 16
    mlp_ratio: float = 4.0
    rope_base: float = 100.0
    dpt_width: int = 256
    dpt_last_width: int = 128
    dpt_layer_widths: tuple[int, int, int, int] = (96, 192, 384, 768)
    depth_mode: str = "exp"
    confidence_mode: str = "exp"
    confidence_range: tuple[float, float] = (1.0, math.inf)
    local_head: bool = True
    random_image_ids: bool = True
    sharp_attention: bool = False
    image_size: tuple[int, int] = (384, 512)
    metric: bool = False

    def __post_init__(self) -> None:
        numbers = {
            "encoder_width": (self.encoder_width, 1, MOST_WIDTH),
            "encoder_depth": (self.encoder_depth, 1, MOST_DEPTH),
            "encoder_heads": (self.encoder_heads, 1, MOST_HEADS),
            "decoder_width": (self.decoder_width, 2, MOST_WIDTH),
            "decoder_depth": (self.decoder_depth, 10, MOST_DEPTH),
            "decoder_heads": (self.decoder_heads, 1, MOST_HEADS),
            "mlp_ratio": (self.mlp_ratio, 1e-3, MOST_RATIO),
            "rope_base": (self.rope_base, 1e-3, 1e9),
            "dpt_width": (self.dpt_width, 2, MOST_WIDTH),
            "dpt_last_width": (self.dpt_last_width, 1, MOST_WIDTH),
        }
        numbers |= {f"dpt_layer_widths[{i}]": (width, 1, MOST_WIDTH) for i, width in enumerate(self.dpt_layer_widths)}
        numbers |= {f"image_size[{i}]": (side, 1, 8192) for i, side in enumerate(self.image_size)}
        check_sizes("a Fast3R network", numbers)
        check_heads("encoder", self.encoder_width, self.encoder_heads, rotary=True)
        check_heads("fusion", self.decoder_width, self.decoder_heads)
        if self.decoder_width % 2:
            raise ConfigError("fusion width", got=self.decoder_width, expected="even: ids are sines and cosines")
        if self.patch_size != 16:
            raise ConfigError("patch size with a DPT head", got=self.patch_size, expected="16")
        if any(side % self.patch_size or side < self.patch_size for side in self.image_size):
            raise ConfigError("image size", got=self.image_size, expected=f"multiples of the patch, {self.patch_size}")

    @property
    def hooks(self) -> tuple[int, int, int, int]:
        """Layers of the fusion that the heads read; 0 is its input."""
        depth = self.decoder_depth
        return (0, depth * 2 // 4, depth * 3 // 4, depth)


TINY = Fast3rArchitecture(
    encoder_width=32,
    encoder_depth=2,
    encoder_heads=2,
    decoder_width=24,
    decoder_depth=10,
    decoder_heads=2,
    dpt_width=8,
    dpt_last_width=6,
    dpt_layer_widths=(4, 6, 8, 10),
    image_size=(48, 64),
)
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
