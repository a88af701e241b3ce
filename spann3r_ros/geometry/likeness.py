"""Whether two images show the same at the same points, in whatever light."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING = 25
"""Gray levels are averaged over such a part of the image's width before they are compared: poses shake by pixels."""

LEAST_PIXELS, LEAST_CONTRAST = 50, 5.0
"""Points that lie where they were seen, and standard deviation of their gray levels on both sides, without which
likeness tells nothing."""


def smooth_gray(colors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(h, w) gray levels of an (h, w, 3) image, each the mean of its surroundings."""
    side = colors.shape[1] // SMOOTHING | 1
    return np.asarray(
        cv2.blur(cv2.cvtColor(np.ascontiguousarray(colors), cv2.COLOR_RGB2GRAY), (side, side)), np.float32
    )


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlation of the gray levels (N,) of the same points, which no exposure changes; NaN where it tells nothing."""
    if len(one) < LEAST_PIXELS:
        return float("nan")
    one, other = one - one.mean(), other - other.mean()
    contrast, other_contrast = float(np.sqrt(np.mean(one**2))), float(np.sqrt(np.mean(other**2)))
    if min(contrast, other_contrast) < LEAST_CONTRAST:
        return float("nan")
    return float(np.mean(one * other)) / (contrast * other_contrast)
