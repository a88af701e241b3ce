"""Networks small enough to build in milliseconds, and the recordings that prove equality."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spann3r_ros.config import Config
from spann3r_ros.frame import Frame
from spann3r_ros.models.dust3r import architecture as dust3r
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.spann3r import architecture as spann3r
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.models.spann3r.parameters import Spann3rParameters

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


def read_json(name: str) -> dict[str, Any]:
    """A JSON of the folder of recordings."""
    content: dict[str, Any] = json.loads((GOLDEN / name).read_text())
    return content


TINY_TRUNK = dust3r.TINY
"""For every test to which the sizes do not matter."""

OFFICIAL_TRUNK_IN_SMALL = Dust3rArchitecture(
    encoder_width=64,
    encoder_depth=1,
    encoder_heads=1,
    decoder_width=64,
    decoder_depth=10,
    decoder_heads=1,
    mlp_ratio=2.0,
    dpt_width=8,
    dpt_last_width=4,
    dpt_layer_widths=(4, 6, 8, 10),
)
"""DPT heads, and attention heads of 64 channels as the official weights have them: their shapes tell everything."""


def tiny_architecture(**trunk: Any) -> Spann3rArchitecture:
    """Sizes of a tiny Spann3R with linear heads; keyword arguments change its trunk."""
    return dataclasses.replace(spann3r.TINY, trunk=dataclasses.replace(TINY_TRUNK, **trunk))


def tiny_network(seed: int = 0, **trunk: Any) -> Spann3rNetwork:
    """A random network of ``tiny_architecture``."""
    torch.manual_seed(seed)
    return Spann3rNetwork(tiny_architecture(**trunk)).eval().requires_grad_(False)


def tiny_config(**memory: Any) -> Config:
    """Small memory sizes: 3 working frames and 60 tokens of 12 per frame; keyword arguments change them.

    Everything enters the map: what a random network says would not be believed.
    """
    config = Config()
    config.tracking.enabled = False
    for name, value in {"working_frames": 3, "long_term_tokens": 60, "protected_frames": 1, **memory}.items():
        setattr(config.of(Spann3rParameters), name, value)
    return config


def random_frames(count: int, size: tuple[int, int] = (64, 48), seed: int = 0) -> list[Frame]:
    """Frames of noise of (width, height)."""
    generator = np.random.default_rng(seed)
    width, height = size
    return [
        Frame(index, index * 10**8, "camera", generator.integers(0, 256, (height, width, 3), np.uint8))
        for index in range(count)
    ]
