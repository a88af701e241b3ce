"""Where a new submap lies: by the frames that it shares with the one before."""

from __future__ import annotations

import logging

import numpy as np

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.alignment import align_pointmaps
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.map import Map
from spann3r_ros.prediction import Prediction

logger = logging.getLogger(__name__)

SHARED = 8
"""Frames of a submap that are remembered for the next one."""


class SubmapJoints:
    """Joins submaps as they are opened; see ``Corrector``.

    A frame that was answered in the newest submap and in the one before is seen in both, pixel by pixel; with every
    further one the similarity between the two is found anew from all of them.
    """

    def __init__(self) -> None:
        self._newest: dict[tuple[int, int], Prediction] = {}
        self._before: dict[tuple[int, int], Prediction] = {}
        self._submap: int | None = None
        self._pairs: list[tuple[Prediction, Prediction]] = []

    def observe(self, prediction: Prediction, world: Map) -> list[Correction]:  # noqa: D102
        if not prediction.final:
            return []
        if self._submap is not None and prediction.submap < self._submap:
            return []
        if prediction.submap != self._submap:
            self._submap, self._before, self._newest, self._pairs = prediction.submap, self._newest, {}, []
        key = (prediction.frame.index, prediction.frame.stamp)
        self._newest[key] = prediction
        if len(self._newest) > SHARED:
            del self._newest[next(iter(self._newest))]
        known = self._before.get(key)
        if known is None or known.points.shape != prediction.points.shape:
            return []
        self._pairs.append((prediction, known))
        return self._joined(world)

    def clear(self) -> None:  # noqa: D102
        self._newest, self._before, self._submap, self._pairs = {}, {}, None, []

    def _joined(self, world: Map) -> list[Correction]:
        new, before = self._pairs[-1][0].submap, self._pairs[-1][1].submap
        try:
            before_from_new = align_pointmaps(
                np.stack([here.points for here, _ in self._pairs]),
                np.stack([there.points for _, there in self._pairs]),
                np.stack([here.confidence for here, _ in self._pairs]),
                np.stack([there.confidence for _, there in self._pairs]),
            ).target_from_source
        except GeometryError as error:
            logger.warning("submap %d is not joined to submap %d: %s", new, before, error)
            return []
        place = world.submap(before).world_from_submap @ before_from_new
        return [Correction(new, place, f"submap {new} joined to submap {before} over {len(self._pairs)} frames")]
