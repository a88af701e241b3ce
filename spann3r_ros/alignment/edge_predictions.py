"""What a network says about each pair of images: the input of both alignments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.alignment.pair_graph import Edge
from spann3r_ros.errors import AnswerError, ConfigError
from spann3r_ros.models.base import PairModel
from spann3r_ros.models.pointmap import EncodedView

Map = NDArray[np.float32]

MOST_BYTES = 8 << 30
"""Of all answers together, in float32; more is refused before the first is computed."""

BYTES_PER_PIXEL = 16
"""A point and a confidence."""


@dataclass(frozen=True, eq=False)
class EdgePrediction:
    """What the network says about the ordered pair (i, j).

    Attributes:
        edge: (i, j).
        first_points: (h_i, w_i, 3) float32 of image i, in the camera of i.
        first_confidence: (h_i, w_i) float32, at least 1.
        second_points: (h_j, w_j, 3) float32 of image j, in the camera of i.
        second_confidence: (h_j, w_j) float32, at least 1.
    """

    edge: Edge
    first_points: Map
    first_confidence: Map
    second_points: Map
    second_confidence: Map

    @property
    def score(self) -> float:
        """Product of the two mean confidences."""
        return float(self.first_confidence.mean()) * float(self.second_confidence.mean())

    def confidences(self) -> Iterator[tuple[int, Map]]:
        """Each of the two images and the (h, w) confidence of its pixels."""
        yield self.edge[0], self.first_confidence
        yield self.edge[1], self.second_confidence


def predict_edges(
    model: PairModel, views: Sequence[EncodedView], edges: Sequence[Edge], decoded: Callable[[], None] = lambda: None
) -> list[EdgePrediction]:
    """One decoding for each edge; images are encoded once, before.

    Args:
        model: the network.
        views: of the images.
        edges: ordered pairs.
        decoded: called after every decoding.

    Raises:
        ConfigError: more answers than fit ``MOST_BYTES``.
        AnswerError: an answer that is not finite.
    """
    require_room([view.view.colors.shape[:2] for view in views], edges)
    found = []
    for i, j in edges:
        first, second = model.infer(views[i], views[j])
        if not (np.isfinite(first.points).all() and np.isfinite(second.points).all()):
            raise AnswerError(f"the network's answer about images {i} and {j} is not finite")
        found.append(
            EdgePrediction(
                (i, j), first.points, raw_confidence(first.confidence), second.points, raw_confidence(second.confidence)
            )
        )
        decoded()
    return found


def require_room(sizes: Sequence[tuple[int, int]], edges: Sequence[Edge]) -> None:
    """Raise ConfigError when the answers about the edges of images of (h, w) would take more than ``MOST_BYTES``."""
    pixels = [height * width for height, width in sizes]
    total = BYTES_PER_PIXEL * sum(pixels[i] + pixels[j] for i, j in edges)
    if total > MOST_BYTES:
        raise ConfigError(
            "memory for the answers about all pairs of images",
            got=f"{total / 2**30:.1f} GiB for {len(edges)} ordered pairs",
            expected=f"<= {MOST_BYTES / 2**30:.0f} GiB",
            next_step="Pair fewer images (--pairs swin-3), take fewer (--every, --limit), or smaller ones",
        )


def raw_confidence(confidence: Map) -> Map:
    """The network's confidence c >= 1 of one in [0, 1] = (c - 1) / c."""
    # A confidence that float32 rounded to one had been ten million and more.
    raw: Map = np.float32(1) / np.maximum(np.float32(1) - confidence, np.float32(1e-7))
    return raw


def sizes_of(predictions: Sequence[EdgePrediction]) -> list[tuple[int, int]]:
    """(h, w) of each image; ConfigError for one that no pair shows, or in two sizes."""
    sizes: dict[int, tuple[int, int]] = {}
    for prediction in predictions:
        for image, confidence in prediction.confidences():
            height, width = confidence.shape
            if sizes.setdefault(image, (height, width)) != (height, width):
                raise ConfigError(f"size of image {image} in its pairs", got=(height, width), expected=sizes[image])
    count = 1 + max(sizes, default=0)
    missing = sorted(set(range(count)) - set(sizes))
    if missing or count < 2:
        raise ConfigError(
            "images without a pair", got=missing or f"{count} images", expected="none, and at least two images"
        )
    return [sizes[image] for image in range(count)]


def largest_confidences(predictions: Sequence[EdgePrediction], sizes: Sequence[tuple[int, int]]) -> list[Map]:
    """(h, w) float32 of each image: the largest confidence that any pair gives a pixel."""
    largest = [np.zeros(size, np.float32) for size in sizes]
    for prediction in predictions:
        for image, found in prediction.confidences():
            np.maximum(largest[image], found, out=largest[image])
    return largest
