"""Sizes of SALAD's network. The defaults are those of the official weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from spann3r_ros.blocks.sizes import MOST_WIDTH, DinoSizes, check_sizes
from spann3r_ros.errors import ConfigError


@dataclass(frozen=True)
class SaladArchitecture:
    """DINOv2 and an aggregation of its patches by optimal transport.

    Attributes:
        encoder: the image encoder, without registers and with positions resized as in its first publication.
        hidden: width of the hidden layers of the aggregation.
        clusters, cluster_width: how many vectors the patches are gathered in, and how long each is.
        token_width: numbers that come from the class token.
        iterations: of Sinkhorn's algorithm.
        image_size: (height, width) in pixels that images are resized to.

    Raises:
        ConfigError: sizes out of range, or no more patches than clusters.
    """

    encoder: DinoSizes = field(
        default_factory=lambda: DinoSizes(width=768, depth=12, heads=12, registers=0, resize="offset")
    )
    hidden: int = 512
    clusters: int = 64
    cluster_width: int = 128
    token_width: int = 256
    iterations: int = 3
    image_size: tuple[int, int] = (336, 336)

    def __post_init__(self) -> None:
        widths = ("hidden", "clusters", "cluster_width", "token_width")
        numbers: dict[str, tuple[float, float, float]] = {n: (getattr(self, n), 1, MOST_WIDTH) for n in widths}
        numbers |= {f"image_size[{i}]": (side, 1, 8192) for i, side in enumerate(self.image_size)}
        check_sizes("SALAD", {**numbers, "iterations": (self.iterations, 1, 100)})
        patch = self.encoder.patch_size
        if self.encoder.registers:
            raise ConfigError("registers of SALAD's encoder", got=self.encoder.registers, expected=0)
        if any(side % patch for side in self.image_size):
            raise ConfigError("image size of SALAD", got=self.image_size, expected=f"multiples of the patch, {patch}")

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.encoder.patch_size

    @property
    def metric(self) -> bool:
        """It gives no lengths."""
        return False

    @property
    def descriptor_width(self) -> int:
        """Numbers of a descriptor: 8448."""
        return self.token_width + self.clusters * self.cluster_width


TINY = SaladArchitecture(
    encoder=DinoSizes(width=32, depth=2, heads=2, registers=0, native_grid=5, resize="offset"),
    hidden=20,
    clusters=6,
    cluster_width=8,
    token_width=10,
    image_size=(56, 56),
)
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
