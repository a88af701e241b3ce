from __future__ import annotations

import importlib.util
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from geometric_models import FakeWindowModel, frames_of_the_path

from spann3r_ros.complaints import Complaints, Severity
from spann3r_ros.config import MapConfig
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.corrections import Correction, PatientCorrector
from spann3r_ros.mapping.graph_corrections import GraphCorrections
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.pose_graph import JOINT, LOOP, ODOMETRY, EdgeKey, EdgeNoise, PoseGraph, SubmapEdge
from spann3r_ros.sim3 import Sim3

needs_gtsam = pytest.mark.skipif(importlib.util.find_spec("gtsam") is None, reason="GTSAM has no wheel for this Python")

NOISE = EdgeNoise(0.02, 0.1, 0.02)
STEP = Sim3(translation=np.array([1.0, 0.0, 0.0]))
(ANSWER,) = FakeWindowModel().infer(frames_of_the_path(1))


class Later(Background):
    """Does what it was given when it is told to."""

    def __init__(self) -> None:
        super().__init__(False)
        self.tasks: list[tuple[Any, Future[Any]]] = []

    def submit(self, task: Any) -> Future[Any]:
        self.tasks.append((task, Future()))
        return self.tasks[-1][1]

    def work(self) -> None:
        for task, future in self.tasks:
            try:
                future.set_result(task())
            except Exception as error:
                future.set_exception(error)
        self.tasks.clear()


def row(count: int) -> tuple[Map, PoseGraph]:
    """Submaps in a row, a bit more than a meter apart where joints say one meter."""
    world, graph = Map(MapConfig(voxel_size=0.1)), PoseGraph()
    for number in range(1, count):
        world.open_submap(number, world.submaps[-1].world_from_submap @ STEP)
        graph.put(SubmapEdge(number - 1, number, STEP, NOISE, JOINT))
    return world, graph


def apply(corrections: list[Correction], world: Map) -> None:
    for each in corrections:
        world.move(each.submap, each.world_from_submap, each.reason)


def distance(world: Map, first: int, second: int) -> float:
    places = [world.submap(number).world_from_submap.translation for number in (first, second)]
    return float(np.linalg.norm(places[0] - places[1]))


def loop(first: int, second: int, length: float) -> SubmapEdge:
    return SubmapEdge(first, second, Sim3(translation=np.array([length, 0, 0])), EdgeNoise(0.01, 0.01, 0.01), LOOP)


def test_joints_alone_are_not_solved() -> None:
    world, graph = row(4)
    background = Later()
    corrector = GraphCorrections(graph, background)
    assert isinstance(corrector, PatientCorrector)
    assert corrector.observe(ANSWER, world) == [] and not background.tasks
    assert corrector.finish(world) == []


@needs_gtsam
def test_the_solution_moves_what_was_opened_meanwhile_and_follows_a_world_that_was_scaled() -> None:
    world, graph = row(5)
    background = Later()
    corrector = GraphCorrections(graph, background)
    graph.put(loop(0, 4, 3.9))
    assert corrector.observe(ANSWER, world) == []
    world.open_submap(5, world.submaps[-1].world_from_submap @ STEP)
    graph.put(SubmapEdge(4, 5, STEP, NOISE, JOINT))
    for submap in world.submaps:
        world.move(submap.id, Sim3(2.0) @ submap.world_from_submap)
    assert corrector.observe(ANSWER, world) == [], "it is not done yet"
    background.work()
    apply(corrector.observe(ANSWER, world), world)
    assert distance(world, 0, 4) == pytest.approx(2 * 3.9, abs=0.02)
    assert distance(world, 4, 5) == pytest.approx(2.0, abs=0.05)
    np.testing.assert_allclose(world.submap(0).world_from_submap.translation, 0, atol=1e-6)
    assert corrector.closed_loops() == [EdgeKey(LOOP, 0, 4)]
    assert "1 loops" in world.reason


@needs_gtsam
def test_it_is_solved_once_for_each_change_and_submaps_that_stay_are_not_moved() -> None:
    world, graph = row(3)
    corrector = GraphCorrections(graph, Background(False))
    graph.put(loop(0, 2, 2.0))
    assert corrector.observe(ANSWER, world) == []
    assert corrector.observe(ANSWER, world) == []
    graph.put(loop(0, 2, 1.9))
    moved = corrector.observe(ANSWER, world)
    assert {each.submap for each in moved} == {1, 2}


@needs_gtsam
def test_the_end_waits_for_what_is_under_way_and_solves_what_came_since() -> None:
    world, graph = row(5)
    corrector = GraphCorrections(graph, Background(True))
    graph.put(loop(0, 4, 3.9))
    corrector.observe(ANSWER, world)
    graph.put(loop(0, 3, 2.8))
    apply(corrector.finish(world), world)
    assert distance(world, 0, 3) < 2.95
    assert {key.first for key in corrector.closed_loops()} == {0} and len(corrector.closed_loops()) == 2
    corrector.close()


@needs_gtsam
def test_rejected_edges_are_said_once() -> None:
    log: list[tuple[Severity, str]] = []
    world, graph = row(5)
    corrector = GraphCorrections(graph, Background(False), Complaints(lambda *entry: log.append(entry)))
    graph.put(SubmapEdge(2, 3, Sim3(translation=np.array([9.0, 0, 0])), NOISE, ODOMETRY))
    assert corrector.observe(ANSWER, world) == []
    graph.put(loop(0, 4, 4.0))
    corrector.observe(ANSWER, world)
    assert [text for _, text in log] == ["the odometry between submaps 2 and 3 contradicts the others: it is rejected"]
    assert corrector.rejected == {EdgeKey(ODOMETRY, 2, 3)}
    (edge,) = [edge for edge in corrector.view(world).edges if edge.kind == ODOMETRY]
    assert not edge.holds


def test_a_graph_that_cannot_be_solved_leaves_the_map_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    log: list[tuple[Severity, str]] = []
    world, graph = row(4)
    corrector = GraphCorrections(graph, Background(False), Complaints(lambda *entry: log.append(entry)))
    graph.put(loop(0, 3, 2.0))
    assert corrector.observe(ANSWER, world) == [] and corrector.observe(ANSWER, world) == []
    ((severity, text),) = log
    assert severity is Severity.ERROR and "spann3r_ros[mapping]" in text and "submaps stay where they are" in text
