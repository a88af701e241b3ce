"""DUSt3R's own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spann3r_ros.parameter import parameter


@dataclass
class Dust3rParameters:
    """How DUSt3R, which knows pairs only, follows a stream."""

    GROUP: ClassVar[str] = "dust3r"

    reference: str = parameter(
        "first",
        "Frame that each new one is matched against: the first, or the last keyframe.",
        choices=("first", "keyframe"),
    )
    keyframe_confidence: float = parameter(
        0.5,
        "A frame of a lower mean confidence becomes the next keyframe.",
        low=0.0,
        high=1.0,
        live=True,
    )
