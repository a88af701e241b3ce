"""Sixteen bits made eight: which values become black and white, as the parameter ``image.range`` says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FULL = (0, 65535)

LEAST_SPAN = 16
"""``auto`` spreads no fewer values than this over black to white: below it there is little but noise."""

SAMPLE = 100_000
"""Pixels that ``auto`` looks at, about."""


def to_8_bit(pixels: NDArray[np.uint16], value_range: str) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The pixels as uint8 of the same shape, and the values (low, high) that became 0 and 255.

    Args:
        pixels: of any shape.
        value_range: ``full``: the upper byte; ``LOW..HIGH``: these values; ``auto``: the upper byte where pixels
            use the uppermost bit, else from their darkest to their brightest thousandth. All channels share one range.
    """
    low, high = FULL if value_range == "full" else _own_range(pixels) if value_range == "auto" else bounds(value_range)
    if (low, high) == FULL:
        return (pixels >> 8).astype(np.uint8), FULL
    values = (np.arange(65536) - low) * (255.0 / (high - low))
    table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return table[pixels], (low, high)


def bounds(text: str) -> tuple[int, int]:
    """Low and high of ``LOW..HIGH``, a value that ``config.is_value_range`` accepts."""
    low, _, high = text.partition("..")
    return int(low), int(high)


def _own_range(pixels: NDArray[Any]) -> tuple[int, int]:
    """Low and high of the pixels themselves, a thousandth left out on both sides; all 16 bits where they use them."""
    flat = pixels.reshape(-1)
    low, high = np.percentile(flat[:: max(1, flat.size // SAMPLE)], (0.1, 99.9))
    if high > FULL[1] // 2:
        return FULL
    surplus = max(0.0, LEAST_SPAN - (high - low)) / 2
    return int(np.floor(low - surplus)), int(np.ceil(high + surplus))
