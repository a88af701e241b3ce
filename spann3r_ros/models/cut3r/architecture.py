"""Sizes of CUT3R's networks. The defaults are the official ViT-Large ones with DPT heads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spann3r_ros.blocks.sizes import MOST_DEPTH, MOST_HEADS, MOST_RATIO, MOST_WIDTH, check_heads, check_sizes
from spann3r_ros.errors import ConfigError

RAY_HEADS, RAY_RATIO = 16, 4.0
"""Attention heads and MLP ratio of the blocks that encode ray maps, the same in every published network."""

RETRIEVER_DEPTH = FINAL_DEPTH = 2
"""Blocks that read, that write the pose memory, and that make tokens of the world's frame; likewise."""


@dataclass(frozen=True)
class Cut3rArchitecture:
    """An image encoder, decoders of image and state that look at each other, a memory of poses, and heads.

    Attributes:
        patch_size: side of a patch in pixels.
        encoder_width, encoder_depth, encoder_heads: of the image encoder.
        decoder_width, decoder_depth: of both decoders.
        decoder_heads: of the image's decoder, of the pose memory and of the blocks before the world's head.
        state_heads: of the state's decoder.
        state_tokens: tokens of the state.
        state_positions: where they stand for the rotary embedding: ``2d`` on a grid, ``1d`` on its diagonal, ``none``.
        pose_rows: rows of the pose memory.
        ray_depth: blocks that encode ray maps.
        mlp_ratio: hidden width of an MLP over the width of its block.
        rope_base: base of the rotary position embedding.
        head: ``dpt`` or ``linear``.
        dpt_width, dpt_last_width, dpt_layer_widths: channels inside the DPT heads.
        depth_mode, pose_mode: how a raw output becomes a point, a translation: ``exp``, ``linear`` or ``square``.
        confidence_mode: how a raw output becomes a confidence: ``exp`` or ``sigmoid``.
        confidence_range: smallest and largest confidence.
        image_size: (height, width) in pixels that the weights were made for.
        metric: whether the pointmaps are in meters.
    """

    patch_size: int = 16
    encoder_width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    decoder_width: int = 768
    decoder_depth: int = 12
    decoder_heads: int = 12
    state_heads: int = 16
    state_tokens: int = 768
    state_positions: str = "2d"
    pose_rows: int = 256
    ray_depth: int = 2
    mlp_ratio: float = 4.0
    rope_base: float = 100.0
    head: str = "dpt"
    dpt_width: int = 256
    dpt_last_width: int = 128
    dpt_layer_widths: tuple[int, int, int, int] = (96, 192, 384, 768)
    depth_mode: str = "exp"
    pose_mode: str = "exp"
    confidence_mode: str = "exp"
    confidence_range: tuple[float, float] = (1.0, math.inf)
    image_size: tuple[int, int] = (384, 512)
    metric: bool = True

    def __post_init__(self) -> None:
        numbers = {
            "patch_size": (self.patch_size, 1, 64),
            "encoder_width": (self.encoder_width, 1, MOST_WIDTH),
            "encoder_depth": (self.encoder_depth, 1, MOST_DEPTH),
            "encoder_heads": (self.encoder_heads, 1, MOST_HEADS),
            "decoder_width": (self.decoder_width, 1, MOST_WIDTH),
            "decoder_depth": (self.decoder_depth, 1, MOST_DEPTH),
            "decoder_heads": (self.decoder_heads, 1, MOST_HEADS),
            "state_heads": (self.state_heads, 1, MOST_HEADS),
            "state_tokens": (self.state_tokens, 1, 1 << 16),
            "pose_rows": (self.pose_rows, 1, 1 << 16),
            "ray_depth": (self.ray_depth, 0, MOST_DEPTH),
            "mlp_ratio": (self.mlp_ratio, 1e-3, MOST_RATIO),
            "rope_base": (self.rope_base, 1e-3, 1e9),
            "dpt_width": (self.dpt_width, 2, MOST_WIDTH),
            "dpt_last_width": (self.dpt_last_width, 1, MOST_WIDTH),
        }
        numbers |= {f"dpt_layer_widths[{i}]": (width, 1, MOST_WIDTH) for i, width in enumerate(self.dpt_layer_widths)}
        numbers |= {f"image_size[{i}]": (side, 1, 8192) for i, side in enumerate(self.image_size)}
        check_sizes("a CUT3R network", numbers)
        check_heads("encoder", self.encoder_width, self.encoder_heads, rotary=True)
        check_heads("ray map encoder", self.encoder_width, RAY_HEADS, rotary=True)
        check_heads("image decoder", self.decoder_width, self.decoder_heads, rotary=True)
        check_heads("state decoder", self.decoder_width, self.state_heads, rotary=True)
        if self.head not in ("dpt", "linear"):
            raise ConfigError("head", got=self.head, expected="dpt or linear")
        if self.head == "dpt" and self.patch_size != 16:
            raise ConfigError("patch size with a DPT head", got=self.patch_size, expected="16")
        if self.state_positions not in ("2d", "1d", "none"):
            raise ConfigError("positions of the state", got=repr(self.state_positions), expected="2d | 1d | none")
        if any(side % self.patch_size or side < self.patch_size for side in self.image_size):
            raise ConfigError("image size", got=self.image_size, expected=f"multiples of the patch, {self.patch_size}")

    @property
    def hooks(self) -> tuple[int, int, int, int]:
        """Layers of the image's decoder that the DPT heads read; 0 is the encoder's feature."""
        depth = self.decoder_depth
        return (0, depth * 2 // 4, depth * 3 // 4, depth)

    @property
    def state_columns(self) -> int:
        """Columns of the grid that the state's tokens stand on: the root of their number, rounded to an even number."""
        columns = math.isqrt(self.state_tokens)
        return columns + columns % 2


TINY = Cut3rArchitecture(
    encoder_width=64,
    encoder_depth=2,
    encoder_heads=2,
    decoder_width=24,
    decoder_depth=3,
    decoder_heads=2,
    state_heads=3,
    state_tokens=10,
    pose_rows=6,
    ray_depth=1,
    head="linear",
    image_size=(48, 64),
)
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
