"""The solution of the pose graph moves all submaps, as soon as it is there."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.complaints import EVENT, Complaints, Severity, reason, through
from spann3r_ros.errors import Spann3rError
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.graph_solver import GraphPlaces, solve
from spann3r_ros.mapping.map import Map, Submap
from spann3r_ros.mapping.pose_graph import LOOP, EdgeKey, PoseGraph
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

logger = logging.getLogger(__name__)

NOTICEABLE = 1e-4
"""A submap stays where it is when its turn (radians), its scale and, measured by its own size, its shift change less:
a map that moves is published anew."""


@dataclass(frozen=True, eq=False)
class _Task:
    """A graph that is being solved, and where the submaps were when that began."""

    revision: int
    places: dict[int, Sim3]
    solution: Future[GraphPlaces]


class EdgeView(NamedTuple):
    """An edge as it lies in the world.

    Attributes:
        kind: who measured it.
        first, second: (3,) the middles of its submaps in the world.
        holds: whether it does; else it was rejected, or waits for a second one.
    """

    kind: str
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    holds: bool


@dataclass(frozen=True, eq=False)
class GraphView:
    """The pose graph as it lies in the world, for pictures of it.

    Attributes:
        submaps: (3,) the middle of each in the world.
        edges: between them.
    """

    submaps: list[NDArray[np.float64]] = field(default_factory=list)
    edges: list[EdgeView] = field(default_factory=list)

    def transformed(self, target_from_world: Sim3) -> GraphView:
        """The same graph seen from another world frame."""
        move = target_from_world.apply
        edges = [edge._replace(first=move(edge.first), second=move(edge.second)) for edge in self.edges]
        return GraphView([move(middle) for middle in self.submaps], edges)


class GraphCorrections:
    """Solves the pose graph when it has changed, and moves the submaps; see ``Corrector``.

    As long as the graph knows joints only, there is nothing to solve. Submaps that were opened meanwhile move along
    with the newest one that was solved for; what moved the world meanwhile counts for the solution, too.

    Args:
        graph: which others put their measurements into.
        background: where it is solved.
        complaints: hears about what the graph rejects, and when it cannot be solved.
    """

    name = "graph"

    def __init__(self, graph: PoseGraph, background: Background, complaints: Complaints | None = None) -> None:
        self.graph, self._background = graph, background
        self._complaints = complaints or Complaints(through(logger))
        self._task: _Task | None = None
        self._solved = -1
        self._rejected: frozenset[EdgeKey] = frozenset()
        self._unchecked: frozenset[EdgeKey] = frozenset()
        self._settled: frozenset[EdgeKey] = frozenset()

    @property
    def rejected(self) -> frozenset[EdgeKey]:
        """Measurements that contradict the rest, as of the last solution."""
        return self._rejected

    @property
    def unchecked(self) -> frozenset[EdgeKey]:
        """Loops that alone connect two parts of the world; they wait for a second one that says the same."""
        return self._unchecked

    def closed_loops(self) -> list[EdgeKey]:
        """Loops that hold the world together, as of the last solution."""
        return [key for key in self._settled if key.kind == LOOP]

    def observe(self, prediction: Prediction, world: Map) -> list[Correction]:  # noqa: D102
        del prediction
        found = self._collected(world) if self._task is not None and self._task.solution.done() else []
        if self._task is None and self.graph.revision != self._solved and self.graph.must_be_solved():
            self._begin(world)
            if self._task is not None and self._task.solution.done():  # it was done at once
                found += self._collected(world)
        return found

    def finish(self, world: Map) -> list[Correction]:  # noqa: D102
        if self._task is not None:
            self._task.solution.exception()  # waits
        if (self._task.revision if self._task is not None else self._solved) != self.graph.revision:
            self._task = None
            if self.graph.must_be_solved():
                self._begin(world)
        return self._collected(world) if self._task is not None else []

    def clear(self) -> None:  # noqa: D102
        self.graph.clear()
        self._forget()

    def close(self) -> None:  # noqa: D102
        self._background.close()
        self._task = None

    def view(self, world: Map) -> GraphView:
        """The edges as they lie in the world, between the middles of the submaps."""
        middles = {submap.id: middle_of(submap) for submap in world.submaps}
        without = self._rejected | self._unchecked
        edges = [
            EdgeView(edge.kind, middles[edge.first], middles[edge.second], edge.key not in without)
            for edge in self.graph.edges()
            if edge.first in middles and edge.second in middles
        ]
        return GraphView(list(middles.values()), edges)

    def saved(self) -> dict[str, NDArray[Any]]:  # noqa: D102
        return self.graph.saved()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: D102
        self.graph.restore(state)
        self._forget()

    def _forget(self) -> None:
        self._task, self._solved = None, -1
        self._rejected = self._unchecked = self._settled = frozenset()

    def _begin(self, world: Map) -> None:
        revision, measurements = self.graph.revision, self.graph.measurements()
        places = {submap.id: submap.world_from_submap for submap in world.submaps}
        settled, doubted = self._settled, self._rejected
        task = self._background.submit(lambda: solve(places, measurements, settled, doubted))
        self._task = _Task(revision, places, task)

    def _collected(self, world: Map) -> list[Correction]:
        """What came of the task."""
        task, self._task = self._task, None
        assert task is not None
        self._solved = task.revision
        error = task.solution.exception()
        if error is not None:
            text = f"the pose graph of {len(task.places)} submaps is not solved, submaps stay where they are: "
            expected = None if isinstance(error, Spann3rError) else error
            self._complaints.report("pose graph", text + reason(error), Severity.ERROR, expected)
            return []
        self._complaints.settle("pose graph")
        solution = task.solution.result()
        self._tell(solution)
        return self._corrections(task.places, solution, world)

    def _tell(self, solution: GraphPlaces) -> None:
        new = solution.rejected - self._rejected
        self._rejected, self._unchecked = solution.rejected, solution.unchecked
        known = {each.key for each in self.graph.measurements()}
        self._settled = frozenset(known - solution.rejected - solution.unchecked)
        for key in sorted(new):
            text = f"the {key.kind} between submaps {key.first} and {key.second} contradicts the others: it is rejected"
            self._complaints.report(f"rejected {key.kind}", text, lasts=EVENT)

    def _corrections(self, before: Mapping[int, Sim3], solution: GraphPlaces, world: Map) -> list[Correction]:
        present = {submap.id: submap.world_from_submap for submap in world.submaps}
        common = [number for number in solution.world_from_submap if number in present]
        if not common:
            return []
        # Whatever moved the oldest submap since then, such as a scale that was found, moved the whole world.
        oldest = min(common)
        now_from_then = present[oldest] @ before[oldest].inverse()
        solved = {number: now_from_then @ solution.world_from_submap[number] for number in common}
        newest = max(common)
        moved = solved[newest] @ present[newest].inverse()
        places = {number: solved.get(number, moved @ place) for number, place in present.items()}
        loops = len(self.closed_loops())
        text = f"pose graph of {len(before)} submaps solved: {loops} loops, {len(solution.rejected)} edges rejected"
        return [Correction(number, place, text) for number, place in places.items() if _differs(present[number], place)]


def middle_of(submap: Submap) -> NDArray[np.float64]:
    """(3,) in the world: where the camera was halfway through a submap; its origin before any pose is known."""
    poses = submap.poses
    place = poses[len(poses) // 2].target_from_camera.translation if len(poses) else np.zeros(3)
    return np.asarray(submap.world_from_submap.apply(place))


def _differs(before: Sim3, after: Sim3) -> bool:
    step = before.inverse() @ after
    changes = (step.rotation_angle(), abs(math.log(step.scale)), float(np.linalg.norm(step.translation)))
    return max(changes) > NOTICEABLE
