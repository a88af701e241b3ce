"""Sizes of networks and of the parts that they share, without PyTorch: what an architecture is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spann3r_ros.errors import ConfigError

MOST_WIDTH, MOST_DEPTH, MOST_HEADS, MOST_RATIO = 16384, 128, 256, 64.0
"""Far more than any network of this kind has; what a damaged or hostile file says beyond that is not built."""


def check_sizes(what: str, numbers: Mapping[str, tuple[float, float, float]]) -> None:
    """Raise ConfigError for the first of (value, least, most) by name that is out of range, or no number."""
    for name, (value, least, most) in numbers.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise ConfigError(f"{name} of {what}", got=value, expected=f"{least:g} .. {most:g}")


def check_heads(which: str, width: int, heads: int, rotary: bool = False) -> None:
    """Raise ConfigError unless ``width`` splits into ``heads``, for 2-D rotary positions into heads of 4 n channels."""
    if width % ((4 if rotary else 1) * heads):
        expected = "a multiple of 4 x heads (2-D RoPE)" if rotary else "a multiple of the number of heads"
        raise ConfigError(f"{which} width", got=f"{width} with {heads} heads", expected=expected)


@dataclass(frozen=True)
class DinoSizes:
    """A DINOv2 image encoder (Oquab et al. 2023; registers: Darcet et al. 2023). The defaults are ViT-L/14's.

    Attributes:
        patch_size: side of a patch in pixels.
        width, depth, heads, mlp_ratio: of its blocks.
        registers: tokens between the class token and the patches; 0 for the networks before there were any.
        native_grid: side of the square grid of patches that the learned positions were stored for.
        resize: how they are brought to another grid: ``exact`` asks for its size, with antialiasing; ``offset`` scales
            by (rows + 0.1) / native_grid without, as the first publication did.
        channels: of the image.
    """

    patch_size: int = 14
    width: int = 1024
    depth: int = 24
    heads: int = 16
    mlp_ratio: float = 4.0
    registers: int = 4
    native_grid: int = 37
    resize: str = "exact"
    channels: int = 3

    def __post_init__(self) -> None:
        check_sizes(
            "a DINOv2 encoder",
            {
                "patch_size": (self.patch_size, 1, 64),
                "width": (self.width, 1, MOST_WIDTH),
                "depth": (self.depth, 0, MOST_DEPTH),
                "heads": (self.heads, 1, MOST_HEADS),
                "mlp_ratio": (self.mlp_ratio, 1e-3, MOST_RATIO),
                "registers": (self.registers, 0, 1024),
                "native_grid": (self.native_grid, 1, 1024),
                "channels": (self.channels, 1, 64),
            },
        )
        check_heads("DINOv2 encoder", self.width, self.heads)
        if self.resize not in ("exact", "offset"):
            raise ConfigError("resizing of positions", got=repr(self.resize), expected="exact | offset")

    @property
    def specials(self) -> int:
        """Tokens before the patches: the class token and the registers."""
        return 1 + self.registers
