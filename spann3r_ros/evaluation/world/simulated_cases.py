"""What loops are worth, and what they may cost: with the simulated network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.config import SIMULATED
from spann3r_ros.evaluation.world.case import (
    AIM,
    MISSED,
    Finding,
    NotMeasuredError,
    graded,
    require_parameters,
    spread_text,
)
from spann3r_ros.evaluation.world.passes import run_pass
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.mapping.graph_corrections import GraphCorrections
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.pose_graph import LOOP, SubmapEdge
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.rooms import look_alike_scene
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories

LOOPS = "loops.enabled"

TRUE_LOOP = 2.0
"""Meters; the two rooms lie 8 m apart."""


@dataclass(frozen=True)
class LongRun:
    """A long run on one way, several times around: what loops make of the drift.

    Attributes:
        seeds: how many, each with a way and a drift of its own.
        frames, rounds: of each.
        submap_frames: of a submap.
    """

    NAME: ClassVar[str] = "long_run"
    MUST_TEXT: ClassVar[str] = "<= 1/5"
    AIM_TEXT: ClassVar[str] = "1/10"

    seeds: int = 20
    frames: int = 2000
    rounds: int = 3
    submap_frames: int = 100

    def title(self) -> str:  # noqa: D102
        return (
            f"simulated network, {self.frames:,} frames, {self.rounds} rounds through the apartment, "
            f"{self.seeds} seeds: ATE with loops / without"
        )

    def measure(self) -> Finding:  # noqa: D102
        ways, scene = Trajectories(Scene.apartment()), Scene.apartment()
        without: list[float] = []
        joined: list[float] = []
        for seed in range(self.seeds):
            walk = RenderedWalk(scene, ways.rounds(EVALUATION_SEED + seed, self.frames, self.rounds))
            values = {"model": SIMULATED, "simulated.seed": seed, "submap.frames": self.submap_frames}
            without.append(run_pass(walk, {**values, **_loops(False)}).ate())
            if _have_loops():
                joined.append(run_pass(walk, {**values, **_loops(True)}).ate())
        text = f"ATE without {spread_text(without, ' m')}"
        if not joined:
            raise NotMeasuredError(f"{text}; with loops: this version has no parameter {LOOPS}")
        ratios = [one / other for one, other in zip(joined, without, strict=True)]
        text += f", with {spread_text(joined, ' m')}; ratio {spread_text(ratios)}"
        return Finding(text, graded(float(np.median(ratios)), 1 / 5, 1 / 10))


def _have_loops() -> bool:
    try:
        require_parameters(LOOPS)
    except NotMeasuredError:
        return False
    return True


def _loops(enabled: bool) -> dict[str, Any]:
    """The parameter, where this version has it."""
    return {LOOPS: enabled} if _have_loops() else {}


@dataclass(frozen=True)
class LookAlikeRooms:
    """Two rooms that look the same, a hall between them: no loop may join the one to the other.

    Attributes:
        seeds: how many, each with rooms, a way and a drift of its own.
        frames: of each.
        submap_frames: of a submap.
        likeness: of descriptors, from which on images are looked at, and from which on the network is fooled.
    """

    NAME: ClassVar[str] = "look_alike_rooms"
    MUST_TEXT: ClassVar[str] = "0"
    AIM_TEXT: ClassVar[str] = "0"

    seeds: int = 20
    frames: int = 600
    submap_frames: int = 50
    likeness: float = 0.7

    def title(self) -> str:  # noqa: D102
        return (
            f"simulated network that takes two rooms that look the same for one, {self.frames} frames, {self.seeds} "
            "seeds: false loops accepted"
        )

    def measure(self) -> Finding:  # noqa: D102
        require_parameters(LOOPS)
        false = closed = rejected = 0
        for seed in range(self.seeds):
            scene = look_alike_scene(seed)
            walk = RenderedWalk(scene, Trajectories(scene).walk(EVALUATION_SEED + seed, self.frames))
            values = {"model": SIMULATED, "simulated.seed": seed, "submap.frames": self.submap_frames, LOOPS: True}
            values |= {"loops.similarity": self.likeness, "simulated.relate_fooled": self.likeness}
            run = run_pass(walk, values).reconstruction
            for graph in [each for each in run.correctors if isinstance(each, GraphCorrections)]:
                holds = set(graph.closed_loops())
                edges = [edge for edge in graph.graph.edges(LOOP) if edge.key in holds]
                false += sum(not is_true(edge, run.map, walk) for edge in edges)
            closed += run.loops().closed
            rejected += run.loops().rejected
        text = f"{false} of {closed} closed loops, {rejected} candidates and loops rejected"
        return Finding(text, MISSED if false else AIM)


def is_true(edge: SubmapEdge, world: Map, walk: RenderedWalk) -> bool:
    """Whether a loop joins two submaps as they really lie: the second one's cameras are ``TRUE_LOOP`` meters off."""
    first, second = (_cameras(world, number, walk) for number in (edge.first, edge.second))
    truth_from_first = umeyama(first.found, first.true)
    placed = truth_from_first.apply(edge.first_from_second.apply(second.found))
    return bool(np.median(np.linalg.norm(placed - second.true, axis=1)) < TRUE_LOOP)


@dataclass(frozen=True, eq=False)
class _Cameras:
    """(N, 3) points at the cameras of a submap: in its frame, and in the true world."""

    found: NDArray[np.float64]
    true: NDArray[np.float64]


def _cameras(world: Map, number: int, walk: RenderedWalk) -> _Cameras:
    """Each center, and a point half a meter along each axis of it: they tell the turn of a straight path, too."""
    truth = walk.ground_truth().trajectory
    assert truth is not None
    poses = [(pose.target_from_camera, truth.at(pose.stamp, 0)) for pose in world.submap(number).poses]
    known = [(found, true) for found, true in poses if true is not None]
    centers = [np.array([pose.translation for pose in path]) for path in zip(*known, strict=True)]
    found_length, true_length = (np.linalg.norm(np.diff(path, axis=0), axis=1).sum() for path in centers)
    unit = found_length / max(true_length, 1e-9)
    ends = 0.5 * np.concatenate([np.zeros((3, 1)), np.eye(3)], axis=1)
    found = [pose.translation[:, None] + unit * pose.rotation @ ends for pose, _ in known]
    true = [pose.translation[:, None] + pose.rotation @ ends for _, pose in known]
    return _Cameras(np.concatenate(found, axis=1).T, np.concatenate(true, axis=1).T)
