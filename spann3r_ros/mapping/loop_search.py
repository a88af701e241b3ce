"""Whether a keyframe shows a place that another submap has seen: candidates by descriptor, verified one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.config import LoopsConfig
from spann3r_ros.frame import Frame
from spann3r_ros.mapping.graph_solver import parts
from spann3r_ros.mapping.keyframes import Keyframe, nearest
from spann3r_ros.mapping.overlap import overlap
from spann3r_ros.mapping.pose_graph import LOOP, EdgeNoise, SubmapEdge
from spann3r_ros.mapping.retrieval import RetrievalSettings, pairs_with
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

VIEWS = 3
"""Keyframes of each end that the network is asked about."""

TRIES = 3
"""How often the same two submaps are looked at before they count as different places."""

LOOKS = 2
"""Other submaps that are looked at for each keyframe."""

TURN, SHIFT, STRETCH = math.radians(3.0), 0.08, 0.05
"""How wrong a loop of confidence 1 may be: radians, a share of the depth, and of the scale. Those that the shipped
model accepts in its apartment are wrong by 3 degrees, 0.12 of the depth in space and 0.03, by the median."""

SAME_PLACE_BY_TOKENS, SAME_PLACE = 0.95, 0.85
"""Inner product of two descriptors from which on they may be of one place: of an encoder's mean tokens (the shipped
model: 95 % of the pairs within 0.6 m and 25 degrees are above 0.968, one of 1000 that show something else above 0.937),
and of a network that was made for it (SALAD, as VGGT-Long has it)."""

BATCH = 16
"""Keyframes that are described together."""

Pair: TypeAlias = tuple[int, int]
"""Two submaps, the older one first."""


class Related(Protocol):
    """How two submaps lie to each other; ``models.base.Relation`` is one."""

    @property
    def a_from_b(self) -> Sim3: ...  # noqa: D102
    @property
    def confidence(self) -> float: ...  # noqa: D102


Relate = Callable[[Sequence[Prediction], Sequence[Prediction]], "Related | None"]
"""Tells how the submaps of two groups of answers lie to each other; None when they show different places."""

Describe = Callable[[Sequence[Frame]], NDArray[np.float32]]
"""One vector (N, D) of unit length for each frame, from a network of its own."""


@dataclass
class LoopCounts:
    """What became of the candidates since the world began.

    Attributes:
        candidates: pairs of keyframes that were looked at.
        accepted: of these, given to the pose graph (which may still reject them).
        unrelated: of these, those that the model cannot bring together.
        unfitting: of these, those whose surfaces do not fit, or whose scale is out of bounds.
        failed: keyframes on which the model raised an error.
        skipped: keyframes that were not looked for, because others were being looked at.
    """

    candidates: int = 0
    accepted: int = 0
    unrelated: int = 0
    unfitting: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def rejected(self) -> int:
        """Candidates that came to nothing."""
        return self.unrelated + self.unfitting + self.failed

    def add(self, other: LoopCounts) -> None:
        """Count what another one counted, too."""
        for entry in fields(self):
            setattr(self, entry.name, getattr(self, entry.name) + getattr(other, entry.name))


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What is known when a keyframe is looked for.

    Attributes:
        keyframes: all that are kept.
        places: ``world_from_submap`` by id.
        edges: of the pose graph.
        tries: how often two submaps were looked at.
    """

    keyframes: Sequence[Keyframe]
    places: Mapping[int, Sim3]
    edges: Sequence[SubmapEdge]
    tries: Mapping[Pair, int]


@dataclass(eq=False)
class LoopFinding:
    """What came of one keyframe.

    Attributes:
        edges: loops that hold.
        tried: pairs of submaps that were looked at.
        counts: of this keyframe.
    """

    edges: list[SubmapEdge] = field(default_factory=list)
    tried: list[Pair] = field(default_factory=list)
    counts: LoopCounts = field(default_factory=LoopCounts)


class LoopSearch:
    """Looks for one keyframe at a time.

    Args:
        config: thresholds; live ones are read each time.
        relate: asks the network.
        describe: gives descriptors instead of the model's own.
    """

    def __init__(self, config: LoopsConfig, relate: Relate, describe: Describe | None = None) -> None:
        self._config, self._relate, self._describe = config, relate, describe
        self._described: dict[int, NDArray[np.float32]] = {}

    def look(self, keyframe: Keyframe, around: Surroundings) -> LoopFinding:
        """Everything that one keyframe tells; whatever the network raises comes through."""
        finding = LoopFinding()
        kept = {each.order for each in around.keyframes}
        self._described = {order: vector for order, vector in self._described.items() if order in kept}
        whole = parts(list(around.places), around.edges)
        for other in self._candidates(keyframe, around):
            finding.counts.candidates += 1
            finding.tried.append(_pair(keyframe, other))
            a = [each.prediction() for each in nearest(around.keyframes, other, VIEWS)]
            b = [each.prediction() for each in nearest(around.keyframes, keyframe, VIEWS)]
            related = self._relate(a, b)
            if related is None or related.confidence < self._config.min_confidence:
                finding.counts.unrelated += 1
                continue
            is_connected = whole[other.submap] == whole[keyframe.submap]
            expected = around.places[other.submap].inverse() @ around.places[keyframe.submap]
            stretch = abs(math.log(related.a_from_b.scale / expected.scale)) if is_connected else 0.0
            fit = overlap(a, b, related.a_from_b)
            is_fitting = fit.share >= self._config.min_overlap and fit.agreement >= self._config.min_agreement
            if not is_fitting or stretch > math.log(self._config.max_scale):
                finding.counts.unfitting += 1
                continue
            finding.counts.accepted += 1
            finding.tried += [_pair(keyframe, other)] * TRIES
            noise = EdgeNoise(TURN, SHIFT * keyframe.depth, STRETCH, keyframe.submap_from_camera)
            noise = noise.looser(1 / math.sqrt(max(related.confidence, 0.1)))
            finding.edges.append(SubmapEdge(other.submap, keyframe.submap, related.a_from_b, noise, LOOP))
        return finding

    def _candidates(self, keyframe: Keyframe, around: Surroundings) -> list[Keyframe]:
        """The most similar keyframe of each submap that may be a loop; the most similar ``LOOKS`` of them."""
        neighbors = {frozenset((edge.first, edge.second)) for edge in around.edges}
        others = {
            each.order: each
            for each in around.keyframes
            if each.submap in around.places
            and each.submap != keyframe.submap
            and frozenset((each.submap, keyframe.submap)) not in neighbors
            and around.tries.get(_pair(each, keyframe), 0) < TRIES
        }
        self._describe_all([*others.values(), keyframe])
        known = [(order, self._descriptor(each)) for order, each in others.items()]
        usual = SAME_PLACE_BY_TOKENS if self._describe is None else SAME_PLACE
        settings = RetrievalSettings(similarity=self._config.similarity or usual, least_gap=self._config.min_gap)
        best: dict[int, Keyframe] = {}
        for pair in pairs_with((keyframe.order, self._descriptor(keyframe)), known, settings):
            best.setdefault(others[pair.earlier].submap, others[pair.earlier])
        return list(best.values())[:LOOKS]

    def _descriptor(self, keyframe: Keyframe) -> NDArray[np.float32]:
        return keyframe.descriptor if self._describe is None else self._described[keyframe.order]

    def _describe_all(self, keyframes: Sequence[Keyframe]) -> None:
        """Ask the network of descriptors about keyframes that it has not seen."""
        if self._describe is None:
            return
        fresh = [each for each in keyframes if each.order not in self._described]
        for begin in range(0, len(fresh), BATCH):
            some = fresh[begin : begin + BATCH]
            vectors = self._describe([each.prediction().frame for each in some])
            self._described |= {each.order: vector for each, vector in zip(some, vectors, strict=True)}


def _pair(one: Keyframe, other: Keyframe) -> Pair:
    return min(one.submap, other.submap), max(one.submap, other.submap)
