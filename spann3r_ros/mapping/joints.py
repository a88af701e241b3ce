"""Where a new submap lies: by the frames that it shares with the one before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.alignment import PointmapSample, align_samples
from spann3r_ros.geometry.irls import align_irls
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.pose_graph import JOINT, EdgeNoise, PoseGraph, SubmapEdge
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

logger = logging.getLogger(__name__)

SHARED = 8
"""Frames of a submap that are remembered for the next one, unless more are shared."""

MOST_CONFIDENT = 1.0 - 1e-6
"""Confidences above this count as this: networks give c > 1, we hold (c - 1) / c, and rounding may have made it 1."""

TURN, SHIFT, STRETCH = np.radians(2.0), 0.03, 0.05
"""How wrong a joint may be, with what drifts inside of a submap: radians, a share of the scene's extent, and of the
scale. The pixels of shared frames agree far better than that, but they tell nothing about the submap's other end."""


@dataclass
class _Seen:
    """What a submap said of the last frames that were answered in it, by index and stamp."""

    submap: int
    frames: dict[tuple[int, int], PointmapSample] = field(default_factory=dict)

    def remember(self, key: tuple[int, int], sample: PointmapSample, most: int) -> None:
        self.frames.pop(key, None)
        self.frames[key] = sample
        if len(self.frames) > most:
            del self.frames[next(iter(self.frames))]


class SubmapJoints:
    """Joins submaps as they are opened; see ``Corrector``.

    A frame that was answered in the newest submap and in the one before is seen in both, pixel by pixel; with every
    further one the similarity between the two is found anew from all of them. Where they do not agree the submap stays
    where it is. A stream that never opens a submap costs the memory of a few samples and nothing else.

    Every joint goes to the pose graph, too. Once that knows more about a submap than its joint, only its solution moves
    the submap, so that the two never pull it to and fro.

    Args:
        graph: which the joints become edges of.
        alignment: ``submap.alignment``.
        shared: frames that two submaps may share.
    """

    name = "joints"

    def __init__(self, graph: PoseGraph | None = None, alignment: str = "robust", shared: int = SHARED) -> None:
        self._graph = graph if graph is not None else PoseGraph()
        self._align = ALIGNMENTS[alignment]
        self._shared = max(shared, SHARED)
        self._newest: _Seen | None = None
        self._before: _Seen | None = None
        self._pairs: list[tuple[PointmapSample, PointmapSample]] = []

    def observe(self, prediction: Prediction, world: Map) -> list[Correction]:  # noqa: D102
        number = prediction.submap
        if not prediction.final or (self._newest is not None and number < self._newest.submap):
            return []
        if self._newest is None or number != self._newest.submap:
            self._before, self._newest, self._pairs = self._newest, _Seen(number), []
        key = (prediction.frame.index, prediction.frame.stamp)
        sample = PointmapSample.of(prediction.points, prediction.confidence)
        self._newest.remember(key, sample, self._shared)
        if self._before is None or key not in self._before.frames:
            return []
        self._pairs.append((sample, self._before.frames.pop(key)))
        return self._joined(number, self._before.submap, world)

    def clear(self) -> None:  # noqa: D102
        self._newest, self._before, self._pairs = None, None, []

    def saved(self) -> dict[str, NDArray[Any]]:  # noqa: D102
        state: dict[str, NDArray[Any]] = {}
        for name, seen in (("newest", self._newest), ("before", self._before)):
            if seen is not None:
                state[f"{name}.submap"] = np.array(seen.submap)
                state[f"{name}.frames"] = np.array(list(seen.frames), np.int64).reshape(-1, 2)
                _put(state, name, list(seen.frames.values()))
        _put(state, "pairs.here", [here for here, _ in self._pairs])
        _put(state, "pairs.there", [there for _, there in self._pairs])
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: D102
        newest, before = _load_seen(state, "newest"), _load_seen(state, "before")
        pairs = list(zip(_take(state, "pairs.here"), _take(state, "pairs.there"), strict=True))
        self._newest, self._before, self._pairs = newest, before, pairs

    def _joined(self, number: int, before: int, world: Map) -> list[Correction]:
        here, there = [pair[0] for pair in self._pairs], [pair[1] for pair in self._pairs]
        try:
            before_from_new = self._align(here, there)
            world_from_submap = world.submap(before).world_from_submap @ before_from_new
        except GeometryError as error:
            logger.warning("submap %d is not joined to submap %d: %s", number, before, error)
            return []
        noise = EdgeNoise(TURN, SHIFT * extent(here), STRETCH)
        self._graph.put(SubmapEdge(before, number, before_from_new, noise, JOINT))
        if not self._graph.is_leaf(number):
            return []
        reason = f"submap {number} joined to submap {before} over {len(here)} shared frames"
        return [Correction(number, world_from_submap, reason)]


def _robust(here: Sequence[PointmapSample], there: Sequence[PointmapSample]) -> Sim3:
    return align_samples(here, there).target_from_source


def _irls(here: Sequence[PointmapSample], there: Sequence[PointmapSample]) -> Sim3:
    """As published, with confidences as the network gives them."""
    sides = [
        (
            np.concatenate([sample.points.reshape(-1, 3) for sample in side]),
            np.concatenate([1.0 / (1.0 - np.minimum(sample.confidence.ravel(), MOST_CONFIDENT)) for sample in side]),
            np.concatenate([sample.confidence.ravel() > 0 for sample in side]),
        )
        for side in (here, there)
    ]
    (source, source_confidence, here_valid), (target, target_confidence, there_valid) = sides
    return align_irls(
        source, target, source_confidence, target_confidence, valid=here_valid & there_valid
    ).target_from_source


ALIGNMENTS: dict[str, Callable[[Sequence[PointmapSample], Sequence[PointmapSample]], Sim3]] = {
    "robust": _robust,
    "irls": _irls,
}


def extent(samples: list[PointmapSample]) -> float:
    """Median distance of points from their median, in the unit of their submap."""
    points = np.concatenate([sample.points[sample.confidence > 0] for sample in samples])
    return float(np.median(np.linalg.norm(points - np.median(points, axis=0), axis=1)))


def _put(state: dict[str, NDArray[Any]], name: str, samples: list[PointmapSample]) -> None:
    for number, sample in enumerate(samples):
        state[f"{name}.{number}.points"], state[f"{name}.{number}.confidence"] = sample.points, sample.confidence


def _take(state: Mapping[str, NDArray[Any]], name: str) -> list[PointmapSample]:
    """What ``_put`` stored; raises ValueError for other arrays."""
    samples: list[PointmapSample] = []
    while f"{name}.{len(samples)}.points" in state:
        points, confidence = (state[f"{name}.{len(samples)}.{part}"] for part in ("points", "confidence"))
        is_sample = confidence.ndim == 2 and points.shape == (*confidence.shape, 3)
        is_finite = points.dtype.kind == confidence.dtype.kind == "f" and np.isfinite(points).all()
        if not (is_sample and is_finite and np.isfinite(confidence).all()):
            raise ValueError(f"{name}.{len(samples)} is no sample of a pointmap")
        samples.append(PointmapSample(points, confidence))
    return samples


def _load_seen(state: Mapping[str, NDArray[Any]], name: str) -> _Seen | None:
    """What ``SubmapJoints.saved`` stored of a submap; raises KeyError or ValueError for other arrays."""
    if f"{name}.submap" not in state:
        return None
    frames, samples = state[f"{name}.frames"], _take(state, name)
    if frames.shape != (len(samples), 2) or frames.dtype.kind != "i":
        raise ValueError(f"{name}.frames of {len(samples)} frames is {frames.dtype} {frames.shape}")
    keys = [(int(index), int(stamp)) for index, stamp in frames]
    return _Seen(int(state[f"{name}.submap"]), dict(zip(keys, samples, strict=True)))
