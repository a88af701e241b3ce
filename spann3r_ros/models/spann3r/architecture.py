"""Sizes of Spann3R's networks. The defaults are the official ViT-Large ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from spann3r_ros.blocks.sizes import MOST_DEPTH, MOST_HEADS, MOST_RATIO, check_sizes
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.dust3r import architecture as dust3r
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture


@dataclass(frozen=True)
class Spann3rArchitecture:
    """DUSt3R's trunk plus Spann3R's memory encoder and key heads.

    Attributes:
        trunk: the DUSt3R network inside.
        value_depth, value_heads, value_mlp_ratio: blocks of the value encoder, as wide as the image encoder.
        value_rope: rotary positions in the value encoder (off in the official weights).
        value_features: the value encoder sees a frame's encoder features beside its pointmap, so that a value can say
            how the two lie to each other (off in the official weights).
    """

    trunk: Dust3rArchitecture = field(default_factory=lambda: Dust3rArchitecture(image_size=(224, 224)))
    value_depth: int = 6
    value_heads: int = 16
    value_mlp_ratio: float = 4.0
    value_rope: bool = False
    value_features: bool = False

    @property
    def patch_size(self) -> int:
        """Of the trunk."""
        return self.trunk.patch_size

    @property
    def image_size(self) -> tuple[int, int]:
        """Of the trunk."""
        return self.trunk.image_size

    @property
    def metric(self) -> bool:
        """Of the trunk."""
        return self.trunk.metric

    def __post_init__(self) -> None:
        check_sizes(
            "a value encoder",
            {
                "value_depth": (self.value_depth, 0, MOST_DEPTH),
                "value_heads": (self.value_heads, 1, MOST_HEADS),
                "value_mlp_ratio": (self.value_mlp_ratio, 1e-3, MOST_RATIO),
            },
        )
        if self.trunk.encoder_width % self.value_heads:
            raise ConfigError(
                "value encoder", got=f"width {self.trunk.encoder_width}, {self.value_heads} heads", expected="divisible"
            )


TINY = Spann3rArchitecture(dust3r.TINY, value_depth=2, value_heads=2)
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
