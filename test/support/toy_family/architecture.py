"""Sizes of the toy network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ToyArchitecture:
    """See ``Architecture``; ``rows`` is the number of rows of its one parameter."""

    patch_size: int = 8
    image_size: tuple[int, int] = (16, 24)
    metric: bool = True
    rows: int = 2
