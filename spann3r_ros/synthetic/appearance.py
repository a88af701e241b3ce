"""What a place looks like, as one vector: the colors of an image, wherever in it they are.

It does what a trained descriptor of places does, good and bad: it stays nearly the same when the camera moves a little
or turns, and it takes two rooms that look the same for one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 8
"""Of each color channel."""


def appearance(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(512,) float32 of unit length: square roots of a histogram of (H, W, 3) RGB, so that a product of two is their
    Bhattacharyya coefficient."""
    red, green, blue = np.moveaxis(image.reshape(-1, 3).astype(np.int64) * BINS // 256, -1, 0)
    counts = np.bincount((red * BINS + green) * BINS + blue, minlength=BINS**3)
    descriptor: NDArray[np.float32] = np.sqrt(counts / counts.sum()).astype(np.float32)
    return descriptor
