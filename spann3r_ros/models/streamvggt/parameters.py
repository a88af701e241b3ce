"""StreamVGGT's own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spann3r_ros.models.vggt.parameters import FITS, POINTS
from spann3r_ros.parameter import parameter


@dataclass
class StreamVggtParameters:
    """What StreamVGGT remembers, and what of its answers is taken."""

    GROUP: ClassVar[str] = "streamvggt"

    kv_frames: int = parameter(
        16,
        "Most frames whose keys and values are kept (0.1 GB each in bf16 at 518 x 392, twice that in fp32): the first, "
        "the newest, and those that were attended to most. 0: all of them, without a bound.",
        unit="frames",
        low=0,
        high=100_000,
    )
    recent_frames: int = parameter(
        8, "Newest frames that are never dropped; at most streamvggt.kv_frames - 2.", unit="frames", low=1, high=1000
    )
    camera_cache: str = parameter(
        "shared",
        "What the camera head sees of past frames. shared: all of its iterations, as published; iteration: the same "
        "iteration only, as in training.",
        choices=("shared", "iteration"),
    )
    points: str = parameter(
        "pointmap",
        "Where points come from. pointmap: the head that gives points directly, as published; depth: depth along the "
        "rays of the predicted camera.",
        choices=POINTS,
    )
    fit: str = parameter(
        "crop",
        "How images whose size is not asked for become the network's. crop: as wide as the weights were made for, of "
        "portrait images the middle square; pad: nothing is cut off, white fills a square.",
        choices=FITS,
    )
