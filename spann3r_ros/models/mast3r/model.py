"""MASt3R: two images in, two pointmaps in the camera of the first out, and which of their pixels match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.config import Config
from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.matched_points import align_matches
from spann3r_ros.models.base import Relation
from spann3r_ros.models.dust3r.model import Dust3r
from spann3r_ros.models.dust3r.network import Grid, Layers
from spann3r_ros.models.mast3r.matching import DescriptorMap, PixelMatches, inside, match_both_ways
from spann3r_ros.models.mast3r.network import Descriptors, Mast3rNetwork
from spann3r_ros.models.pointmap import EncodedView, Pointmap
from spann3r_ros.models.preprocess import cover
from spann3r_ros.prediction import Prediction

STEP = 8
"""Every so many pixels in both directions, matching begins from one."""

SURE_MATCH = 1.5
"""Confidence of a pair of descriptors from which on MASt3R-SLAM believes it."""

LEAST_SHARE = 0.1
"""Of the pixels that matching begins from, the share that must lead to a match that is believed, as in MASt3R-SLAM."""

FULL_SHARE = 1 / 3
"""The share from which on two images overlap as consecutive keyframes do; more adds nothing to how sure it is."""

MOST_VIEWS = 3
"""Of each group that are looked at, spread evenly: nine decodings tell how two submaps lie."""


@dataclass(frozen=True, eq=False)
class DescribedView:
    """What one decoding says about one of its two images.

    Attributes:
        pointmap: in the camera that the decoding is about.
        descriptors: of its pixels.
    """

    pointmap: Pointmap
    descriptors: Descriptors

    @property
    def map(self) -> DescriptorMap:
        """What is matched; of the first item of the batch."""
        return DescriptorMap(self.descriptors.vectors[0], self.descriptors.confidence[0])


@dataclass(frozen=True, eq=False)
class SymmetricPair:
    """Two images decoded in both orders.

    Attributes:
        a_in_a, b_in_a: from the decoding (a, b), in a's camera.
        b_in_b, a_in_b: from the decoding (b, a), in b's camera.
    """

    a_in_a: DescribedView
    b_in_a: DescribedView
    b_in_b: DescribedView
    a_in_b: DescribedView


class Mast3r(Dust3r):
    """A MASt3R network with fixed weights; see ``PairModel`` and ``Relating``.

    Args:
        network: in evaluation mode, on its device, in its precision.
        config: ``image_width`` and ``image_height`` are used.
        weights: where the weights came from.
    """

    name = "mast3r"
    network: Mast3rNetwork

    def __init__(self, network: Mast3rNetwork, config: Config, weights: str) -> None:
        super().__init__(network, config, weights)
        self._describe = Captured(self._described, config.cuda_graphs)
        self.stages["describe"] = self._describe

    @torch.inference_mode()
    def describe(self, a: EncodedView, b: EncodedView) -> tuple[DescribedView, DescribedView]:
        """Both images in a's camera, with descriptors."""
        layers1, layers2 = self._layers(a, b)
        return self._described_view(1, layers1, a.grid), self._described_view(2, layers2, b.grid)

    def describe_symmetric(self, a: EncodedView, b: EncodedView) -> SymmetricPair:
        """Both images in both cameras: two decodings of images that were encoded once."""
        a_in_a, b_in_a = self.describe(a, b)
        b_in_b, a_in_b = self.describe(b, a)
        return SymmetricPair(a_in_a, b_in_a, b_in_b, a_in_b)

    @torch.inference_mode()
    def match(self, a: EncodedView, b: EncodedView) -> PixelMatches:
        """Matches of two images away from their borders, begun from both; the points are not computed."""
        layers1, layers2 = self._layers(a, b)
        described = self._descriptors(1, layers1, a.grid), self._descriptors(2, layers2, b.grid)
        maps = [DescriptorMap(found.vectors[0], found.confidence[0]) for found in described]
        matches = match_both_ways(maps[0], maps[1], STEP)
        assert matches.confidence is not None
        kept = inside(matches, maps[0].size, maps[1].size) & (matches.confidence > SURE_MATCH)
        return PixelMatches(matches.first[kept], matches.second[kept], matches.confidence[kept])

    def _described(self, *tensors: Tensor, branch: int, grid: Grid) -> tuple[Tensor, ...]:
        """Descriptors and their confidence, of the layers and, where it has no other, the points' confidence."""
        first, *others = tensors
        points_confidence = None if self.network.architecture.descriptor_confidence else others.pop()
        found = self.network.descriptors(branch, self.network.layers_of(first, others), grid, points_confidence)
        return found.vectors, found.confidence

    def _descriptors(self, branch: int, layers: Layers, grid: Grid, pointmap: Pointmap | None = None) -> Descriptors:
        tensors = list(layers.values())
        if not self.network.architecture.descriptor_confidence:
            tensors.append((pointmap or self._pointmap(branch, layers, grid)).confidence)
        return Descriptors(*self._describe(*tensors, branch=branch, grid=grid))

    def _described_view(self, branch: int, layers: Layers, grid: Grid) -> DescribedView:
        pointmap = self._pointmap(branch, layers, grid)
        return DescribedView(pointmap, self._descriptors(branch, layers, grid, pointmap))

    def relate(self, a: Sequence[Prediction], b: Sequence[Prediction]) -> Relation | None:
        """See ``Relating``: by the points of pixels whose descriptors match, whatever network gave the points.

        Of each group ``MOST_VIEWS`` are looked at. Pairs of images with too few matches do not count; the others
        together must agree on one similarity. The confidence is the share of the matches' weight that agrees, less
        where the images hardly overlap.
        """
        ours, theirs = _spread(a), _spread(b)
        encoded = {id(answer): self.encode(_as_frame(answer)) for answer in (*ours, *theirs)}
        pairs = list(product(ours, theirs))
        found = [self._matched_points(one, other, encoded) for one, other in pairs]
        overlapping = [points for points in found if points.share >= LEAST_SHARE]
        if not overlapping:
            return None
        here, there, weight = (
            np.concatenate([getattr(points, name) for points in overlapping]) for name in ("b", "a", "weight")
        )
        try:
            alignment = align_matches(here, there, weight)
        except GeometryError:
            return None  # no similarity explains enough of the matches: they are of different places
        agreeing = float(alignment.inliers.mean())
        overlap = min(1.0, agreeing * max(points.share for points in overlapping) / FULL_SHARE)
        return Relation(alignment.target_from_source, agreeing * overlap)

    def _matched_points(self, a: Prediction, b: Prediction, encoded: dict[int, EncodedView]) -> _MatchedPoints:
        """Points of the matching pixels of two answers, each in its submap."""
        one, other = encoded[id(a)], encoded[id(b)]
        matches = self.match(one, other)
        assert matches.confidence is not None
        patch = self.network.architecture.patch_size
        starts = (np.prod(one.grid) + np.prod(other.grid)) * (patch / STEP) ** 2
        at_a = self._own_pixels(a, matches.first.cpu().numpy())
        at_b = self._own_pixels(b, matches.second.cpu().numpy())
        sure = np.sqrt(a.confidence[at_a] * b.confidence[at_b]) * matches.confidence.cpu().numpy()
        return _MatchedPoints(a.points[at_a], b.points[at_b], sure, len(matches) / float(starts))

    def _own_pixels(self, answer: Prediction, pixels: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns on an answer's grid of pixels (x, y) of this network's image of it."""
        height, width = answer.confidence.shape
        size = self.image_size
        plan = size(width, height, None) if callable(size) else cover(width, height, size, None)
        offset = np.array([plan.window.left, plan.window.top])
        factor = np.array([plan.crop.width, plan.crop.height]) / np.array(plan.size)
        place = (pixels + offset + 0.5) * factor - 0.5 + np.array([plan.crop.left, plan.crop.top])
        x, y = np.clip(np.rint(place), 0, [width - 1, height - 1]).astype(np.intp).T
        return y, x


@dataclass(frozen=True, eq=False)
class _MatchedPoints:
    """(N, 3) points of matches in two submaps, (N,) weights, and how many matches there are to each start."""

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    weight: NDArray[np.float32]
    share: float


def _spread(answers: Sequence[Prediction]) -> list[Prediction]:
    """At most ``MOST_VIEWS`` of them, the first and the last included."""
    places = np.unique(np.linspace(0, len(answers) - 1, min(len(answers), MOST_VIEWS)).round().astype(int))
    return [answers[place] for place in places]


def _as_frame(answer: Prediction) -> Frame:
    """The image on the answer's own grid, so that its pixels are those of the points, whatever network cut it."""
    return Frame(answer.frame.index, answer.frame.stamp, answer.frame.camera, answer.colors)
