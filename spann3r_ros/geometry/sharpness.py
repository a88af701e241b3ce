"""Whether an image shows anything: black, covered, blinded and blurred cameras do not."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 160
"""Longer side in pixels of the small gray image that is judged: noise of single pixels averages out."""

WHITE = 250
"""Gray level from which on a pixel counts as blinded."""

STEPS = 16
"""Into which a gray level is divided where percentiles are read off."""


@dataclass(frozen=True)
class Sharpness:
    """What a small gray copy of an image tells.

    Attributes:
        contrast: gray levels between its 5th and its 95th percentile.
        white: share of it at or above ``WHITE``: a blinded sensor shows nothing there.
        detail: mean absolute Laplacian in gray levels: how much of it changes from one pixel to the next.
    """

    contrast: float
    white: float
    detail: float

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> Sharpness:
        """The sharpness of an (H, W, 3) RGB image."""
        height, width = image.shape[:2]
        scale = min(1.0, SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # The nearest pixels of a large image first: averaging all of them would cost ten times as much.
        step = max(1, min(height // (4 * size[1]), width // (4 * size[0])))
        gray = cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_RGB2GRAY).astype(np.float32)
        small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        below = np.cumsum(cv2.calcHist([small], [0], None, [STEPS * 256], [0, 256]))
        low, high = np.searchsorted(below, [0.05 * small.size, 0.95 * small.size]) / STEPS
        white = float((small >= WHITE).mean())
        return cls(
            float(high - low), white, float(cv2.norm(cv2.Laplacian(small, cv2.CV_32F), cv2.NORM_L1) / small.size)
        )
