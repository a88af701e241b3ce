"""Sizes of DUSt3R's networks. The defaults are the official ViT-Large ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spann3r_ros.blocks.sizes import MOST_DEPTH, MOST_HEADS, MOST_RATIO, MOST_WIDTH, check_heads, check_sizes
from spann3r_ros.errors import ConfigError


@dataclass(frozen=True)
class Dust3rArchitecture:
    """The trunk (encoder and twin decoders) and the two pointmap heads of DUSt3R.

    Attributes:
        patch_size: side of a patch in pixels.
        encoder_width, encoder_depth, encoder_heads: of the shared image encoder.
        decoder_width, decoder_depth, decoder_heads: of each of the twin decoders.
        mlp_ratio: hidden width of an MLP over the width of its block.
        rope_base: base of the rotary position embedding.
        head: ``dpt`` or ``linear``.
        dpt_width, dpt_last_width, dpt_layer_widths: channels inside the DPT head.
        depth_mode: how a raw output becomes a point: ``exp``, ``linear`` or ``square``.
        confidence_mode: how a raw output becomes a confidence: ``exp`` or ``sigmoid``.
        confidence_range: smallest and largest confidence.
        image_size: (height, width) in pixels that the weights were made for; what a frame is cropped to by default.
        absolute_position: add a fixed sine-cosine position embedding to the patch tokens.
        metric: whether the pointmaps are in meters.
    """

    patch_size: int = 16
    encoder_width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    decoder_width: int = 768
    decoder_depth: int = 12
    decoder_heads: int = 12
    mlp_ratio: float = 4.0
    rope_base: float = 100.0
    head: str = "dpt"
    dpt_width: int = 256
    dpt_last_width: int = 128
    dpt_layer_widths: tuple[int, int, int, int] = (96, 192, 384, 768)
    depth_mode: str = "exp"
    confidence_mode: str = "exp"
    confidence_range: tuple[float, float] = (1.0, math.inf)
    image_size: tuple[int, int] = (384, 512)
    absolute_position: bool = False
    metric: bool = False

    def __post_init__(self) -> None:
        numbers = {
            "patch_size": (self.patch_size, 1, 64),
            "encoder_width": (self.encoder_width, 1, MOST_WIDTH),
            "encoder_depth": (self.encoder_depth, 1, MOST_DEPTH),
            "encoder_heads": (self.encoder_heads, 1, MOST_HEADS),
            "decoder_width": (self.decoder_width, 1, MOST_WIDTH),
            "decoder_depth": (self.decoder_depth, 1, MOST_DEPTH),
            "decoder_heads": (self.decoder_heads, 1, MOST_HEADS),
            "mlp_ratio": (self.mlp_ratio, 1e-3, MOST_RATIO),
            "rope_base": (self.rope_base, 1e-3, 1e9),
            "dpt_width": (self.dpt_width, 1, MOST_WIDTH),
            "dpt_last_width": (self.dpt_last_width, 1, MOST_WIDTH),
        }
        numbers |= {f"dpt_layer_widths[{i}]": (width, 1, MOST_WIDTH) for i, width in enumerate(self.dpt_layer_widths)}
        numbers |= {f"image_size[{i}]": (side, 1, 8192) for i, side in enumerate(self.image_size)}
        check_sizes("a network", numbers)
        check_heads("encoder", self.encoder_width, self.encoder_heads, rotary=True)
        check_heads("decoder", self.decoder_width, self.decoder_heads, rotary=True)
        if self.head not in ("dpt", "linear"):
            raise ConfigError("head", got=self.head, expected="dpt or linear")
        if self.head == "dpt" and self.decoder_depth <= 9:
            raise ConfigError("decoder depth with a DPT head", got=self.decoder_depth, expected="> 9")
        if self.head == "dpt" and self.patch_size != 16:
            raise ConfigError("patch size with a DPT head", got=self.patch_size, expected="16")
        if any(side % self.patch_size or side < self.patch_size for side in self.image_size):
            raise ConfigError("image size", got=self.image_size, expected=f"multiples of the patch, {self.patch_size}")

    @property
    def hooks(self) -> tuple[int, int, int, int]:
        """Decoder layers that the DPT head reads; 0 is the decoder's input."""
        depth = self.decoder_depth
        return (0, depth * 2 // 4, depth * 3 // 4, depth)


TINY = Dust3rArchitecture(
    encoder_width=32,
    encoder_depth=2,
    encoder_heads=2,
    decoder_width=24,
    decoder_depth=3,
    decoder_heads=2,
    head="linear",
    image_size=(48, 64),
)
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
