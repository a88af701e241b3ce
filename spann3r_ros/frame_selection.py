"""Which images of a camera are worth the network's time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class FrameSelection:
    """Thins out the images of one camera by rate and by how much they changed.

    The thresholds are arguments, so that they can change while running.
    """

    def __init__(self) -> None:
        self._stamp: int | None = None
        self._gray: NDArray[np.float32] | None = None

    def due(self, stamp: int, max_rate: float) -> bool:
        """Whether an image of ``stamp`` (ns) comes late enough after the last one taken; ``max_rate`` Hz, 0: always.

        A tenth of the period is forgiven, so that 10 Hz of a jittering 30 Hz camera is every third image.
        """
        last = self._stamp
        if max_rate <= 0 or last is None or stamp < last:
            return True
        return stamp - last >= 0.9e9 / max_rate

    def moved(self, image: NDArray[np.uint8], min_motion: float) -> bool:
        """Whether ``image`` (H, W, 3) differs from the last one taken by ``min_motion`` gray levels on average."""
        last = self._gray  # which a reset in another thread may clear meanwhile
        if min_motion <= 0 or last is None:
            return True
        gray = _coarse_gray(image)
        if gray.shape != last.shape:
            return True
        # Without the mean difference, which is exposure and not motion.
        difference = gray - last
        return bool(np.abs(difference - difference.mean()).mean() >= min_motion)

    def take(self, stamp: int, image: NDArray[np.uint8], min_motion: float) -> None:
        """Remember the image as the last one taken."""
        self._stamp = stamp
        self._gray = _coarse_gray(image) if min_motion > 0 else None

    def clear(self) -> None:
        """Forget the last one taken."""
        self._stamp = self._gray = None


def _coarse_gray(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """About 64 x 48 means of square blocks."""
    block = max(1, min(image.shape[0] // 48, image.shape[1] // 64))
    height, width = image.shape[0] // block, image.shape[1] // block
    green = image[: height * block, : width * block, 1].reshape(height, block, width, block)
    return np.asarray(green.mean(axis=(1, 3), dtype=np.float32))
