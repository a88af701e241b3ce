"""The own parameters of pi^3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spann3r_ros.parameter import parameter


@dataclass
class Pi3Parameters:
    """How pi^3, which answers for sets of images, follows a stream (section 9 of its specification: the authors' 16
    and 6)."""

    GROUP: ClassVar[str] = "pi3"

    window: int = parameter(16, "Frames that the network sees at once.", unit="frames", low=2, high=1024)
    overlap: int = parameter(
        6, "How many of them the window before saw, too; less than the window.", unit="frames", low=1, high=1023
    )
    join: str = parameter(
        "frame",
        "frame: every window is brought into the first one's frame. submaps: each is a submap.",
        choices=("frame", "submaps"),
    )
    pixel_limit: int = parameter(
        0,
        "Most pixels of an image, which is resized as a whole where image_width and image_height are 0. "
        "0: as many as the weights were made for (255000); fewer are faster.",
        unit="pixels",
        low=0,
        high=4_000_000,
    )
    edge_filter: bool = parameter(
        True, "Whether pixels at the edges of surfaces, which fly freely in space, get confidence 0.", live=True
    )
