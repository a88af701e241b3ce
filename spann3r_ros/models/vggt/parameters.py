"""VGGT's own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spann3r_ros.parameter import parameter

POINTS = ("depth", "pointmap")
FITS = ("crop", "pad")


@dataclass
class VggtParameters:
    """How VGGT, which knows sets of frames only, follows a stream, and what of its answers is taken."""

    GROUP: ClassVar[str] = "vggt"

    window: int = parameter(12, "Frames that are inferred at once.", unit="frames", low=2, high=1000)
    overlap: int = parameter(
        4, "How many of them the window before had, too; fewer than vggt.window.", unit="frames", low=1, high=999
    )
    join: str = parameter(
        "frame",
        "frame: every window is brought into the first one's frame; submaps: each becomes a submap of its own.",
        choices=("frame", "submaps"),
    )
    points: str = parameter(
        "depth",
        "Where points come from. depth: depth along the rays of the predicted camera, as a rule the better one; "
        "pointmap: the head that gives points directly.",
        choices=POINTS,
    )
    fit: str = parameter(
        "crop",
        "How images whose size is not asked for become the network's. crop: as wide as the weights were made for, of "
        "portrait images the middle square; pad: nothing is cut off, white fills a square.",
        choices=FITS,
    )
