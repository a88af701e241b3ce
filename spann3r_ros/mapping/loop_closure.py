"""Places that are seen again become edges of the pose graph, without holding up the stream."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.complaints import EVENT, Complaints, Severity, reason, through
from spann3r_ros.config import LoopsConfig
from spann3r_ros.errors import ConfigError, Spann3rError
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.graph_corrections import GraphCorrections
from spann3r_ros.mapping.graph_solver import require_gtsam
from spann3r_ros.mapping.keyframes import Keyframe, Keyframes
from spann3r_ros.mapping.loop_search import Describe, LoopCounts, LoopFinding, LoopSearch, Relate, Surroundings
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.pose_graph import LOOP, PoseGraph
from spann3r_ros.prediction import Prediction

logger = logging.getLogger(__name__)

WAITING = 4
"""Keyframes that wait to be looked for; a further one makes the oldest of them go."""


@dataclass(frozen=True)
class LoopStatus:
    """What is known of loops, in numbers.

    Attributes:
        closed: loops that hold the world together.
        rejected: candidates that came to nothing, and loops that contradict the rest.
        unchecked: loops that alone connect two parts of the world; each waits for a second one.
        edges_rejected: of the pose graph, whoever measured them.
        skipped: keyframes that were not looked for, because others were being looked at.
    """

    closed: int = 0
    rejected: int = 0
    unchecked: int = 0
    edges_rejected: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, counts: LoopCounts, graph: GraphCorrections) -> LoopStatus:
        """As of the last solution of the graph."""
        loops = sum(key.kind == LOOP for key in graph.rejected)
        closed, unchecked = len(graph.closed_loops()), len(graph.unchecked)
        return cls(closed, counts.rejected + loops, unchecked, len(graph.rejected), counts.skipped)


class LoopClosure:
    """Finds loops and puts them into the pose graph; see ``Corrector``. It moves nothing itself.

    A live stream only pays for the copy of a keyframe: everything else is done in the background, and what was found is
    taken up with the next answer.

    Args:
        config: live values are read for each keyframe.
        graph: takes the loops; its joints tell which submaps are neighbors.
        relate: how two submaps lie to each other, by the network.
        background: where that is found out.
        describe: gives descriptors instead of the model's own.
        complaints: hears when nothing can be found, and about errors of the network.

    Attributes:
        counts: what became of the candidates.
    """

    name = "loops"

    def __init__(
        self,
        config: LoopsConfig,
        graph: PoseGraph,
        relate: Relate,
        background: Background,
        describe: Describe | None = None,
        complaints: Complaints | None = None,
    ) -> None:
        self.config, self._graph, self._relate, self._describe = config, graph, relate, describe
        self._background = background
        self._complaints = complaints or Complaints(through(logger))
        self._keyframes = Keyframes(config.keyframes, config.max_memory * 1_000_000)
        self._waiting: deque[Keyframe] = deque()
        self._task: Future[LoopFinding] | None = None
        self.clear()

    def observe(self, prediction: Prediction, world: Map) -> list[Correction]:  # noqa: D102
        if prediction.final:
            self._order += 1
            if self.config.enabled and self._is_able(prediction):
                self._take(prediction)
        self._go_on(world)
        return []

    def finish(self, world: Map) -> list[Correction]:  # noqa: D102
        while self._task is not None:
            self._task.exception()  # waits
            self._go_on(world)
        return []

    def close(self) -> None:  # noqa: D102
        self._background.close()
        self._task = None
        self._waiting.clear()
        self._keyframes.clear()

    def clear(self) -> None:  # noqa: D102
        self._keyframes.clear()
        self._waiting.clear()
        self._task, self._search = None, LoopSearch(self.config, self._relate, self._describe)
        self._order = 0
        self._tries: dict[tuple[int, int], int] = {}
        self.counts = LoopCounts()

    def saved(self) -> dict[str, NDArray[Any]]:  # noqa: D102
        kept = self._keyframes.all()
        state = {f"{number}.{name}": value for number, each in enumerate(kept) for name, value in each.saved().items()}
        if kept:
            state["order"] = np.array(self._order)
            state["tries"] = np.array([[*pair, tries] for pair, tries in self._tries.items()], np.int64).reshape(-1, 3)
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: D102
        kept: list[Keyframe] = []
        while f"{len(kept)}.counts" in state:
            prefix = f"{len(kept)}."
            parts = {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
            kept.append(Keyframe.load(parts))
        tries = {}
        if kept:
            if state["tries"].ndim != 2 or state["tries"].shape[1] != 3 or state["tries"].dtype.kind != "i":
                raise ValueError(f"tries of loops are {state['tries'].dtype} {state['tries'].shape}")
            tries = {(first, second): count for first, second, count in state["tries"].tolist()}
        order = int(state["order"]) if kept else 0
        self.clear()
        self._keyframes.restore(kept)
        self._order, self._tries = order, tries

    def _is_able(self, prediction: Prediction) -> bool:
        """Whether loops can be found at all; else it was said why not."""
        try:
            require_gtsam()
        except ConfigError as error:
            self._complaints.report("loops", str(error), once=True)
            return False
        if prediction.descriptor is None and self._describe is None:
            text = (
                "no loops are found: this family gives no descriptor of places. Set loops.descriptor to weights of "
                "SALAD, or loops.enabled to false"
            )
            self._complaints.report("loops", text, once=True)
            return False
        self._complaints.settle("loops")
        return True

    def _take(self, prediction: Prediction) -> None:
        """Remember a frame when it is its turn, and have it looked for."""
        keyframe = self._keyframes.add(prediction.submap, lambda: Keyframe.of(prediction, self._order))
        if keyframe is None:
            return
        self._waiting.append(keyframe)
        if len(self._waiting) > WAITING:
            self._waiting.popleft()
            self.counts.skipped += 1

    def _go_on(self, world: Map) -> None:
        """Take up what was found, and begin with the next keyframe."""
        if self._task is not None and self._task.done():
            self._take_up(self._task)
        while self._task is None and self._waiting:
            self._task = self._begin(self._waiting.popleft(), world)
            if self._task.done():  # it was done at once
                self._take_up(self._task)

    def _begin(self, keyframe: Keyframe, world: Map) -> Future[LoopFinding]:
        search = self._search
        around = Surroundings(
            self._keyframes.all(),
            {each.id: each.world_from_submap for each in world.submaps},
            self._graph.edges(),
            dict(self._tries),
        )
        return self._background.submit(lambda: search.look(keyframe, around))

    def _take_up(self, task: Future[LoopFinding]) -> None:
        self._task = None
        error = task.exception()
        if error is not None:
            self.counts.failed += 1
            text = f"a loop could not be verified: {reason(error)}. The map stays as it is"
            expected = None if isinstance(error, Spann3rError) else error
            self._complaints.report("loop verification", text, Severity.WARNING, expected, lasts=EVENT)
            return
        finding = task.result()
        self.counts.add(finding.counts)
        for pair in finding.tried:
            self._tries[pair] = self._tries.get(pair, 0) + 1
        for edge in finding.edges:
            self._graph.put(edge)
