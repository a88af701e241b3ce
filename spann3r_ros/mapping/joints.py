"""Where a new submap lies: by the frames that it shares with the one before."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.alignment import PointmapSample, align_samples
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.map import Map
from spann3r_ros.prediction import Prediction

logger = logging.getLogger(__name__)

SHARED = 8
"""Frames of a submap that are remembered for the next one."""


@dataclass
class _Seen:
    """What a submap said of the last frames that were answered in it, by index and stamp."""

    submap: int
    frames: dict[tuple[int, int], PointmapSample] = field(default_factory=dict)

    def remember(self, key: tuple[int, int], sample: PointmapSample) -> None:
        self.frames.pop(key, None)
        self.frames[key] = sample
        if len(self.frames) > SHARED:
            del self.frames[next(iter(self.frames))]


class SubmapJoints:
    """Joins submaps as they are opened; see ``Corrector``.

    A frame that was answered in the newest submap and in the one before is seen in both, pixel by pixel; with every
    further one the similarity between the two is found anew from all of them. Where they do not agree the submap stays
    where it is. A stream that never opens a submap costs the memory of a few samples and nothing else.
    """

    def __init__(self) -> None:
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
        self._newest.remember(key, sample)
        if self._before is None or key not in self._before.frames:
            return []
        self._pairs.append((sample, self._before.frames.pop(key)))
        return self._joined(number, self._before.submap, world)

    def clear(self) -> None:  # noqa: D102
        self._newest, self._before, self._pairs = None, None, []

    def _joined(self, number: int, before: int, world: Map) -> list[Correction]:
        here, there = [pair[0] for pair in self._pairs], [pair[1] for pair in self._pairs]
        try:
            before_from_new = align_samples(here, there).target_from_source
            world_from_submap = world.submap(before).world_from_submap @ before_from_new
        except GeometryError as error:
            logger.warning("submap %d is not joined to submap %d: %s", number, before, error)
            return []
        reason = f"submap {number} joined to submap {before} over {len(here)} shared frames"
        return [Correction(number, world_from_submap, reason)]
