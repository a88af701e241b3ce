"""Which images of a sequence show a place again: nearest descriptors, thinned out.

VGGT-Long (Deng et al., arXiv 2507.16443), section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError

ROWS = 1024
"""Images that are compared with all others at a time."""


class LoopPair(NamedTuple):
    """Two images of one place: ``later`` > ``earlier``, and the inner product of their descriptors."""

    later: int
    earlier: int
    similarity: float


@dataclass(frozen=True)
class RetrievalSettings:
    """The published ones.

    Attributes:
        similarity: what two descriptors must exceed.
        neighbors: of each image, its most similar others that are looked at.
        least_gap: pairs nearer in the sequence than this, or as near, are no loop.
        suppression: frames around both ends of a loop that can belong to no other.
    """

    similarity: float = 0.85
    neighbors: int = 5
    least_gap: int = 10
    suppression: int = 25


def similar_pairs(descriptors: NDArray[Any], settings: RetrievalSettings | None = None) -> list[LoopPair]:
    """All pairs of similar images, each once, the most similar first.

    Args:
        descriptors: (N, D) of unit length.
        settings: by default the published ones.

    Raises:
        DataError: descriptors of another shape, or not finite.
    """
    settings = settings or RetrievalSettings()
    descriptors = np.asarray(descriptors, np.float32)
    if descriptors.ndim != 2 or not np.isfinite(descriptors).all():
        raise DataError("descriptors of images", got=descriptors.shape, expected="(N, D) of finite numbers")
    best: dict[tuple[int, int], float] = {}
    for begin in range(0, len(descriptors), ROWS):
        similarities = descriptors[begin : begin + ROWS] @ descriptors.T
        # The most similar one is taken to be the image itself.
        nearest = np.argsort(-similarities, axis=1, kind="stable")[:, 1 : settings.neighbors + 1]
        for row, others in enumerate(nearest):
            image = begin + row
            for other in others:
                similarity = float(similarities[row, other])
                if similarity > settings.similarity and abs(image - int(other)) > settings.least_gap:
                    # The two directions may differ in the last bit.
                    pair = (max(image, int(other)), min(image, int(other)))
                    best[pair] = max(similarity, best.get(pair, similarity))
    return sorted((LoopPair(*pair, similarity) for pair, similarity in best.items()), key=lambda pair: -pair.similarity)


def pairs_with(
    newest: tuple[int, NDArray[Any]], known: Sequence[tuple[int, NDArray[Any]]], settings: RetrievalSettings
) -> list[LoopPair]:
    """Of images that are known, those that show what the newest one does, the most similar first.

    Args:
        newest: its number in the sequence, and its descriptor (D,) of unit length.
        known: the same of others; those with a descriptor of another length do not count.
        settings: only ``similarity`` and ``least_gap`` are used.
    """
    number, descriptor = newest
    fitting = [(other, vector) for other, vector in known if len(vector) == len(descriptor)]
    if not fitting:
        return []
    similarities = np.stack([vector for _, vector in fitting]) @ descriptor
    found = [
        LoopPair(number, other, float(similarity))
        for (other, _), similarity in zip(fitting, similarities, strict=True)
        if similarity > settings.similarity and number - other > settings.least_gap
    ]
    return sorted(found, key=lambda pair: -pair.similarity)


def loop_pairs(descriptors: NDArray[Any], settings: RetrievalSettings | None = None) -> list[LoopPair]:
    """``similar_pairs`` without those that lie near a more similar one at either end."""
    settings = settings or RetrievalSettings()
    return thinned(similar_pairs(descriptors, settings), settings.suppression)


def thinned(pairs: list[LoopPair], suppression: int) -> list[LoopPair]:
    """The pairs, in their order, of which no end is suppressed by one before.

    A pair suppresses the frames around each of its ends, those of the earlier end only as far as the later one.
    """
    if not pairs:
        return []
    free = np.ones(max(pair.later for pair in pairs) + 1, np.bool_)
    kept = []
    for pair in pairs:
        earlier, later = pair.earlier, pair.later
        if free[earlier] and free[later]:
            kept.append(pair)
            free[max(0, earlier - suppression) : min(earlier + suppression + 1, later)] = False
            free[max(earlier + 1, later - suppression) : later + suppression + 1] = False
    return kept
