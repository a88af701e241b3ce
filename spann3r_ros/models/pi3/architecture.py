"""Sizes of the networks of pi^3. The defaults are the official ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from spann3r_ros.blocks.sizes import (
    MOST_DEPTH,
    MOST_HEADS,
    MOST_RATIO,
    MOST_WIDTH,
    DinoSizes,
    check_heads,
    check_sizes,
)
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.pi3.image_size import size_under


@dataclass(frozen=True)
class Pi3Architecture:
    """An encoder, a decoder that alternates between one view and all of them, and heads for points, confidence, pose.

    Attributes:
        encoder: of each image; the decoder has its width.
        decoder_depth, decoder_heads, mlp_ratio: of the decoder, whose even blocks see one view and odd ones all.
        registers: learned tokens before each view's patches in the decoder.
        rope_base: base of the rotary position embedding.
        head_width, head_heads, head_depth: of the three transformers that read the decoder.
        head_out: channels of their tokens for points and confidences.
        camera_width: channels of their tokens for the pose.
        pixel_limit: most pixels of an image: the official weights see about so many, whatever its shape.
    """

    encoder: DinoSizes = field(default_factory=DinoSizes)
    decoder_depth: int = 36
    decoder_heads: int = 16
    mlp_ratio: float = 4.0
    registers: int = 5
    rope_base: float = 100.0
    head_width: int = 1024
    head_heads: int = 16
    head_depth: int = 5
    head_out: int = 1024
    camera_width: int = 512
    pixel_limit: int = 255_000

    def __post_init__(self) -> None:
        check_sizes(
            "a pi^3 network",
            {
                "decoder_depth": (self.decoder_depth, 2, MOST_DEPTH),
                "decoder_heads": (self.decoder_heads, 1, MOST_HEADS),
                "mlp_ratio": (self.mlp_ratio, 1e-3, MOST_RATIO),
                "registers": (self.registers, 1, 1024),
                "rope_base": (self.rope_base, 1e-3, 1e9),
                "head_width": (self.head_width, 1, MOST_WIDTH),
                "head_heads": (self.head_heads, 1, MOST_HEADS),
                "head_depth": (self.head_depth, 1, MOST_DEPTH),
                "head_out": (self.head_out, 1, MOST_WIDTH),
                "camera_width": (self.camera_width, 1, MOST_WIDTH),
                "pixel_limit": (self.pixel_limit, self.encoder.patch_size**2, 8192**2),
            },
        )
        if self.encoder.channels != 3:
            raise ConfigError("channels of the images of pi^3", got=self.encoder.channels, expected="3")
        check_heads("decoder", self.encoder.width, self.decoder_heads, rotary=True)
        check_heads("head", self.head_width, self.head_heads, rotary=True)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.encoder.patch_size

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of an image of 4:3; other shapes get other sizes of about as many pixels."""
        width, height = size_under(4, 3, self.pixel_limit, self.patch_size)
        return height, width

    @property
    def metric(self) -> bool:
        """Its unit is nobody's."""
        return False


TINY = Pi3Architecture(
    encoder=DinoSizes(width=32, depth=2, heads=2, native_grid=4),
    decoder_depth=4,
    decoder_heads=2,
    head_width=24,
    head_heads=2,
    head_depth=2,
    head_out=20,
    camera_width=28,
    pixel_limit=42 * 56,
)
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
