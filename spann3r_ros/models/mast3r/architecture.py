"""Sizes of MASt3R's network. The defaults are the official ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spann3r_ros.blocks.sizes import MOST_RATIO, check_sizes
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture


@dataclass(frozen=True)
class Mast3rArchitecture(Dust3rArchitecture):
    """DUSt3R with DPT heads, and a second head a branch that gives each pixel a descriptor.

    Attributes:
        metric: true, since the official weights are trained with targets in meters.
        descriptor_width: channels of a pixel's descriptor.
        descriptor_mlp_ratio: hidden width of the descriptors' MLP over that of its input.
        descriptor_confidence: whether descriptors have a confidence of their own; else it is the points'.
        descriptor_confidence_mode, descriptor_confidence_range: how a raw output becomes that confidence.
    """

    metric: bool = True
    descriptor_width: int = 24
    descriptor_mlp_ratio: float = 4.0
    descriptor_confidence: bool = True
    descriptor_confidence_mode: str = "exp"
    descriptor_confidence_range: tuple[float, float] = (0.0, math.inf)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(
            "a MASt3R network",
            {
                "descriptor_width": (self.descriptor_width, 1, 4096),
                "descriptor_mlp_ratio": (self.descriptor_mlp_ratio, 1e-3, MOST_RATIO),
            },
        )
        if self.head != "dpt":
            raise ConfigError("head of a MASt3R network", got=self.head, expected="dpt")


TINY = Mast3rArchitecture(
    encoder_width=32,
    encoder_depth=2,
    encoder_heads=2,
    decoder_width=24,
    decoder_depth=10,
    decoder_heads=2,
    dpt_width=8,
    dpt_last_width=4,
    dpt_layer_widths=(4, 6, 8, 10),
    descriptor_width=6,
    image_size=(48, 64),
)
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
