"""What is known of two images whose pixels were matched: the input of the sparse alignment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from spann3r_ros.alignment.pair_graph import Edge
from spann3r_ros.models.mast3r.matching import PixelMatches


@dataclass(frozen=True, eq=False)
class MatchedPair:
    """What is known of two images i < j or in any order.

    Attributes:
        edge: (i, j).
        matches: with confidences.
        second_in_first: (cells, 3) points of j's anchors in the camera of i, and their confidence (cells,).
        first_in_second: the same of i in the camera of j.
    """

    edge: Edge
    matches: PixelMatches
    second_in_first: tuple[Tensor, Tensor]
    first_in_second: tuple[Tensor, Tensor]

    @property
    def sureness(self) -> Tensor:
        """(N,) confidence of each match; of matches that have one."""
        assert self.matches.confidence is not None
        return self.matches.confidence


def at_cells(points: Tensor, confidence: Tensor, step: int, corner: bool = False) -> tuple[Tensor, Tensor]:
    """Points (H, W, 3) and confidences (H, W) of the cells' centers, (cells, 3) and (cells,).

    ``corner`` takes the cells' first pixels, as published, although the anchors are their centers.
    """
    cells = slice(0 if corner else step // 2, None, step)
    return points[cells, cells].reshape(-1, 3).clone(), confidence[cells, cells].reshape(-1).clone()


def pair_score(confidences: Sequence[Tensor], matches: PixelMatches) -> tuple[float, float, float]:
    """Geometric mean of the mean confidences of four maps, sum of the matches' confidences, and their number."""
    mean = math.prod(float(confidence.mean()) for confidence in confidences) ** 0.25
    return mean, 0.0 if matches.confidence is None else float(matches.confidence.sum()), float(len(matches))
