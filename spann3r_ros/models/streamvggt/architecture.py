"""Sizes of StreamVGGT's networks: those of VGGT, whose tensors have the same names and shapes."""

from __future__ import annotations

from dataclasses import dataclass

from spann3r_ros.models.vggt.architecture import TINY_SIZES, VggtArchitecture


@dataclass(frozen=True)
class StreamVggtArchitecture(VggtArchitecture):
    """As VGGT's; a type of its own, since the weights were trained to look at past frames only."""


TINY = StreamVggtArchitecture(**TINY_SIZES)  # type: ignore[arg-type]
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
