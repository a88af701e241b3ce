"""Sizes of VGGT's networks. The defaults are the official ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from spann3r_ros.blocks.sizes import MOST_DEPTH, MOST_HEADS, MOST_RATIO, MOST_WIDTH, DinoSizes, check_heads, check_sizes
from spann3r_ros.errors import ConfigError


@dataclass(frozen=True)
class VggtArchitecture:
    """An image encoder, alternating attention, a camera head and two dense heads.

    Attributes:
        encoder: DINOv2; the aggregator is as wide.
        depth, heads, mlp_ratio: of the aggregator: so many blocks within a frame, and as many across frames.
        registers: tokens beside the camera token of each frame; not those of the encoder.
        rope_base: base of the rotary position embedding.
        camera_depth, camera_heads, camera_mlp_ratio: of the camera head's trunk, twice as wide as the aggregator.
        camera_iterations: how often the camera head refines its answer.
        layers: layers of the aggregator that the dense heads read, early to late.
        dpt_width, dpt_last_width, dpt_layer_widths: channels inside a dense head.
        has_depth, has_points: whether the weights have the head of depth and that of pointmaps; one of them at least.
        image_size: (height, width) in pixels that the weights were made for. The width is what images are brought to;
            the height follows from their aspect.
        metric: whether the pointmaps are in meters.
    """

    encoder: DinoSizes = field(default_factory=DinoSizes)
    depth: int = 24
    heads: int = 16
    mlp_ratio: float = 4.0
    registers: int = 4
    rope_base: float = 100.0
    camera_depth: int = 4
    camera_heads: int = 16
    camera_mlp_ratio: float = 4.0
    camera_iterations: int = 4
    layers: tuple[int, int, int, int] = (4, 11, 17, 23)
    dpt_width: int = 256
    dpt_last_width: int = 32
    dpt_layer_widths: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    has_depth: bool = True
    has_points: bool = True
    image_size: tuple[int, int] = (392, 518)
    metric: bool = False

    def __post_init__(self) -> None:
        numbers = {
            "depth": (self.depth, 1, MOST_DEPTH),
            "heads": (self.heads, 1, MOST_HEADS),
            "mlp_ratio": (self.mlp_ratio, 1e-3, MOST_RATIO),
            "registers": (self.registers, 0, 1024),
            "rope_base": (self.rope_base, 1e-3, 1e9),
            "camera_depth": (self.camera_depth, 1, MOST_DEPTH),
            "camera_heads": (self.camera_heads, 1, MOST_HEADS),
            "camera_mlp_ratio": (self.camera_mlp_ratio, 1e-3, MOST_RATIO),
            "camera_iterations": (self.camera_iterations, 1, 64),
            "dpt_width": (self.dpt_width, 1, MOST_WIDTH),
            "dpt_last_width": (self.dpt_last_width, 1, MOST_WIDTH),
        }
        numbers |= {f"dpt_layer_widths[{i}]": (width, 1, MOST_WIDTH) for i, width in enumerate(self.dpt_layer_widths)}
        numbers |= {f"layers[{i}]": (layer, 0, self.depth - 1) for i, layer in enumerate(self.layers)}
        numbers |= {f"image_size[{i}]": (side, 1, 8192) for i, side in enumerate(self.image_size)}
        check_sizes("a VGGT network", numbers)
        check_heads("aggregator", self.width, self.heads, rotary=True)
        check_heads("camera head", 2 * self.width, self.camera_heads)
        # Maps get positions: half of their channels say the column, half the row, and half of each are sines.
        for channels in (self.dpt_width // 2, *self.dpt_layer_widths):
            if channels % 4:
                raise ConfigError("width of a dense head's map", got=channels, expected="a multiple of 4")
        if not self.has_depth and not self.has_points:
            raise ConfigError(
                "dense heads of a VGGT network", got="none", expected="one for depth, for points, or both"
            )
        if any(side % self.patch_size for side in self.image_size):
            raise ConfigError("image size", got=self.image_size, expected=f"multiples of the patch, {self.patch_size}")

    @property
    def patch_size(self) -> int:
        """Of the encoder."""
        return self.encoder.patch_size

    @property
    def width(self) -> int:
        """Of the tokens in encoder and aggregator."""
        return self.encoder.width

    @property
    def specials(self) -> int:
        """Tokens of a frame before its patches: the camera token and the registers."""
        return 1 + self.registers


TINY_SIZES = {
    "encoder": DinoSizes(width=24, depth=2, heads=2, registers=2, native_grid=5),
    "depth": 4,
    "heads": 2,
    "registers": 2,
    "camera_depth": 1,
    "camera_heads": 2,
    "camera_iterations": 2,
    "layers": (0, 1, 2, 3),
    "dpt_width": 8,
    "dpt_last_width": 4,
    "dpt_layer_widths": (4, 4, 8, 8),
    "image_size": (42, 70),
}

TINY = VggtArchitecture(**TINY_SIZES)  # type: ignore[arg-type]
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
