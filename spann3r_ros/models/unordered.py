"""What comes of images whose order means nothing, whichever way they are put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.prediction import Prediction


@dataclass(frozen=True, eq=False)
class UnorderedReconstruction:
    """All images in one frame.

    Attributes:
        order: indices of the frames in the order in which they were taken; the first one's camera is the submap.
        predictions: one per frame, in that order.
        pair_scores: (n, n) float64, of every ordered pair; zero on the diagonal and where a pair was not looked at.
    """

    order: list[int]
    predictions: list[Prediction]
    pair_scores: NDArray[np.float64]
