"""Sizes of the networks of Pi3X. The defaults are the official ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from spann3r_ros.blocks.sizes import MOST_DEPTH, MOST_HEADS, MOST_WIDTH, DinoSizes, check_heads, check_sizes
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.pi3.architecture import TINY as TINY_TRUNK
from spann3r_ros.models.pi3.architecture import Pi3Architecture

INJECT_AFTER = (1, 9, 17, 25, 33)
"""Blocks of the official decoder of 36 after which poses are told to it."""


@dataclass(frozen=True)
class Pi3xArchitecture:
    """pi^3 with convolutional heads, a scale, and ways in for what is known of the views.

    Attributes:
        trunk: what it shares with pi^3.
        upsample: channels of the three stages of a dense head.
        last_width: channels before its output.
        metric_width, metric_heads, metric_depth: of the transformer that tells the scale.
        conditioned: whether the weights have the parts that take depth, rays and poses.
        depth_encoder: of depth images; of the width of the trunk's.
        inject_after: numbers of the decoder's blocks, counted from 0, after which poses are told to it.
    """

    trunk: Pi3Architecture = field(default_factory=Pi3Architecture)
    upsample: tuple[int, int, int] = (256, 128, 64)
    last_width: int = 32
    metric_width: int = 512
    metric_heads: int = 8
    metric_depth: int = 5
    conditioned: bool = True
    depth_encoder: DinoSizes = field(default_factory=lambda: DinoSizes(channels=2))
    inject_after: tuple[int, ...] = INJECT_AFTER

    def __post_init__(self) -> None:
        numbers = {f"upsample[{number}]": (width, 1, MOST_WIDTH) for number, width in enumerate(self.upsample)}
        numbers |= {
            "last_width": (self.last_width, 1, MOST_WIDTH),
            "metric_width": (self.metric_width, 1, MOST_WIDTH),
            "metric_heads": (self.metric_heads, 1, MOST_HEADS),
            "metric_depth": (self.metric_depth, 1, MOST_DEPTH),
        }
        numbers |= {
            f"inject_after[{k}]": (at, 0, self.trunk.decoder_depth - 1) for k, at in enumerate(self.inject_after)
        }
        check_sizes("a Pi3X network", numbers)
        check_heads("metric decoder", self.metric_width, self.metric_heads, rotary=True)
        if len(set(self.inject_after)) != len(self.inject_after):
            raise ConfigError("inject_after", got=self.inject_after, expected="different blocks")
        if any(width % 16 for width in self.upsample):
            raise ConfigError("upsample", got=self.upsample, expected="multiples of 16")
        taken, trunk = self.depth_encoder, self.trunk.encoder
        if self.conditioned and (taken.channels, taken.width, taken.patch_size) != (2, trunk.width, trunk.patch_size):
            raise ConfigError(
                "depth encoder (channels, width, patch)",
                got=(taken.channels, taken.width, taken.patch_size),
                expected=f"(2, {trunk.width}, {trunk.patch_size})",
            )
        if self.conditioned and (trunk.width // self.trunk.decoder_heads) % 8:
            expected = "multiples of 8, for four coordinates and two axes"
            raise ConfigError(
                "channels of a decoder head", got=trunk.width // self.trunk.decoder_heads, expected=expected
            )

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.trunk.patch_size

    @property
    def image_size(self) -> tuple[int, int]:
        """See ``Pi3Architecture.image_size``."""
        return self.trunk.image_size

    @property
    def metric(self) -> bool:
        """Its unit is about a meter."""
        return True


TINY = Pi3xArchitecture(
    trunk=TINY_TRUNK,
    upsample=(16, 16, 16),
    last_width=8,
    metric_width=16,
    metric_heads=2,
    metric_depth=1,
    depth_encoder=DinoSizes(width=32, depth=1, heads=2, native_grid=4, channels=2),
    inject_after=(1, 3),
)
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
