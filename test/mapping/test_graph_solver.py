from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence

import numpy as np
import pytest

from spann3r_ros.errors import ConfigError
from spann3r_ros.geometry.sim3_algebra import sim3_exp, sim3_log
from spann3r_ros.mapping.graph_solver import parts, require_gtsam, solve
from spann3r_ros.mapping.pose_graph import JOINT, LOOP, ODOMETRY, EdgeKey, EdgeNoise, SubmapAnchor, SubmapEdge
from spann3r_ros.mapping.sim3_graph import GraphEdge, accumulated, graph_edges, linearized, optimized
from spann3r_ros.sim3 import Sim3

needs_gtsam = pytest.mark.skipif(importlib.util.find_spec("gtsam") is None, reason="GTSAM has no wheel for this Python")

JOINTS, LOOPS = EdgeNoise(0.01, 0.02, 0.01), EdgeNoise(0.01, 0.03, 0.01)


class Ring:
    """Submaps around a circle, each in a unit of its own, with joints that are a bit wrong."""

    def __init__(self, count: int = 24, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        angles = 2 * np.pi * np.arange(count) / count
        self.truth = [
            Sim3(float(np.exp(0.3 * np.sin(angle))), sim3_exp(np.array([0, 0, 0, 0, 0, angle, 0])).rotation,
                 5 * np.array([np.cos(angle), np.sin(angle), 0.1 * angle]))
            for angle in angles
        ]  # fmt: skip
        self.joints = [self.measured(n, n + 1, JOINTS, JOINT) for n in range(count - 1)]
        self.places = {0: self.truth[0]}
        for joint in self.joints:
            self.places[joint.second] = self.places[joint.first] @ joint.first_from_second

    def measured(self, first: int, second: int, noise: EdgeNoise, kind: str, wrong: float = 0.0) -> SubmapEdge:
        deviations = np.array([noise.translation] * 3 + [noise.rotation] * 3 + [noise.scale])
        error = sim3_exp(self.rng.normal(0, 1, 7) * deviations + self.rng.normal(0, wrong, 7))
        return SubmapEdge(first, second, self.truth[first].inverse() @ self.truth[second] @ error, noise, kind)

    def error(self, places: dict[int, Sim3]) -> float:
        """Largest logarithm of what is wrong with a submap's place."""
        return max(
            float(np.abs(sim3_log(self.truth[n].inverse() @ place)).max()) for n, place in places.items()
        )  # fmt: skip


@needs_gtsam
def test_a_loop_takes_most_of_the_drift_away() -> None:
    before, after = [], []
    for seed in range(5):
        ring = Ring(seed=seed)
        found = solve(ring.places, [*ring.joints, ring.measured(0, 23, LOOPS, LOOP), ring.measured(1, 22, LOOPS, LOOP)])
        assert not found.rejected and not found.unchecked
        np.testing.assert_allclose(found.world_from_submap[0].matrix(), ring.truth[0].matrix(), atol=1e-3)
        before.append(ring.error(ring.places))
        after.append(ring.error(found.world_from_submap))
    assert np.mean(after) < 0.6 * np.mean(before)


@needs_gtsam
def test_measurements_without_error_give_the_truth_from_a_start_that_is_far_off() -> None:
    ring = Ring()
    exact = EdgeNoise(1e-3, 1e-3, 1e-3)
    edges = [
        SubmapEdge(a, b, ring.truth[a].inverse() @ ring.truth[b], exact, kind)
        for a, b, kind in [*((n, n + 1, JOINT) for n in range(23)), (0, 23, LOOP), (5, 20, LOOP)]
    ]
    start = {n: place @ sim3_exp(ring.rng.normal(0, 0.3 if n else 0, 7)) for n, place in enumerate(ring.truth)}
    found = solve(start, edges)
    assert ring.error(found.world_from_submap) < 1e-6 and found.cost < 1e-6 and not found.rejected


@needs_gtsam
@pytest.mark.parametrize("wrong", [1, 4, 12])
def test_wrong_loops_are_rejected_beside_right_ones(wrong: int) -> None:
    ring = Ring()
    right = [ring.measured(n, 23 - n, LOOPS, LOOP) for n in range(4)]
    bad = [ring.measured(n % 8, 12 + n, LOOPS, LOOP, wrong=1.0) for n in range(wrong)]
    found = solve(ring.places, [*ring.joints, *right, *bad])
    assert found.rejected == {edge.key for edge in bad}
    alone = solve(ring.places, [*ring.joints, *right])
    assert ring.error(found.world_from_submap) == pytest.approx(ring.error(alone.world_from_submap), abs=1e-3)


@needs_gtsam
def test_when_all_loops_are_wrong_no_submap_moves() -> None:
    ring = Ring()
    bad = [ring.measured(n, 23 - n, LOOPS, LOOP, wrong=1.0) for n in range(10)]
    found = solve(ring.places, [*ring.joints, *bad])
    assert found.rejected == {edge.key for edge in bad}
    for number, place in ring.places.items():
        np.testing.assert_allclose(found.world_from_submap[number].matrix(), place.matrix(), atol=1e-6)


@needs_gtsam
def test_a_lone_wrong_loop_is_rejected_though_the_long_chain_could_bend() -> None:
    """Its own residual vanishes when each of the joints gives way a little; their sum is what is unlikely."""
    ring = Ring(60)
    (bad,) = [ring.measured(0, 59, EdgeNoise(0.1, 0.2, 0.1), LOOP)]
    shifted = Sim3.rigid(np.eye(3), np.array([3.0, 0.0, 2.0])) @ bad.first_from_second
    bad = dataclasses.replace(bad, first_from_second=shifted)
    found = solve(ring.places, [*ring.joints, bad])
    assert found.rejected == {bad.key}


@needs_gtsam
def test_a_loop_that_alone_connects_two_parts_waits_for_a_second_one() -> None:
    ring = Ring(12)
    joints = [joint for joint in ring.joints if joint.first != 5]
    elsewhere = Sim3(2.0, np.eye(3), np.array([3.0, 0.0, 1.0]))
    start = {n: place if n < 6 else elsewhere @ place for n, place in ring.places.items()}
    lone, second = ring.measured(2, 8, LOOPS, LOOP), ring.measured(4, 7, LOOPS, LOOP)
    found = solve(start, [*joints, lone])
    assert found.unchecked == {lone.key} and not found.rejected
    np.testing.assert_allclose(found.world_from_submap[8].matrix(), start[8].matrix(), atol=1e-6)
    found = solve(start, [*joints, lone, second])
    assert not found.unchecked and not found.rejected and ring.error(found.world_from_submap) < 0.5 * ring.error(start)
    contradicting = ring.measured(4, 7, LOOPS, LOOP, wrong=1.0)
    found = solve(start, [*joints, lone, contradicting])
    assert found.unchecked | found.rejected == {lone.key, contradicting.key}
    np.testing.assert_allclose(found.world_from_submap[8].matrix(), start[8].matrix(), atol=1e-6)


@needs_gtsam
def test_odometry_that_slips_once_is_rejected_there_only() -> None:
    ring = Ring()
    steady = EdgeNoise(0.003, 0.005, 0.02)
    odometry = [ring.measured(n, n + 1, steady, ODOMETRY, wrong=0.5 if n == 7 else 0.0) for n in range(23)]
    found = solve(ring.places, [*ring.joints, *odometry])
    assert found.rejected == {EdgeKey(ODOMETRY, 7, 8)}
    assert ring.error(found.world_from_submap) < 0.9 * ring.error(ring.places)


@needs_gtsam
def test_anchors_move_the_world_and_a_wrong_one_does_not() -> None:
    ring = Ring()
    moved = Sim3(1.5, sim3_exp(np.array([0, 0, 0, 0.2, 0, 0.3, 0])).rotation, np.array([2.0, 0.0, 1.0]))
    anchors = [SubmapAnchor(n, moved @ ring.truth[n], LOOPS) for n in (0, 8, 16, 23)]
    wrong = SubmapAnchor(12, moved @ ring.truth[12] @ sim3_exp(np.full(7, 0.8)), LOOPS)
    found = solve(ring.places, [*ring.joints, *anchors, wrong])
    assert found.rejected == {wrong.key}
    back = {n: moved.inverse() @ place for n, place in found.world_from_submap.items()}
    assert ring.error(back) < 0.1


@needs_gtsam
def test_what_was_rejected_counts_again_once_it_fits() -> None:
    ring = Ring()
    right = [ring.measured(n, 23 - n, LOOPS, LOOP) for n in range(3)]
    loose = ring.measured(4, 19, EdgeNoise(0.1, 0.3, 0.1), LOOP)
    found = solve(ring.places, [*ring.joints, *right, loose], doubted={loose.key})
    assert not found.rejected
    bad = ring.measured(3, 15, LOOPS, LOOP, wrong=1.0)
    found = solve(ring.places, [*ring.joints, *right, bad], {edge.key for edge in right}, doubted={bad.key})
    assert found.rejected == {bad.key}


@needs_gtsam
def test_submaps_without_a_place_or_measurement_do_no_harm() -> None:
    ring = Ring(6)
    places = ring.places | {40: Sim3(translation=np.array([9.0, 0.0, 0.0]))}
    found = solve(places, [*ring.joints, SubmapEdge(3, 77, Sim3(), LOOPS, LOOP)])
    assert found.world_from_submap.keys() == places.keys()
    np.testing.assert_allclose(found.world_from_submap[40].matrix(), places[40].matrix(), atol=1e-9)


def test_parts_are_named_after_their_oldest_submap() -> None:
    edges: Sequence[SubmapEdge] = [SubmapEdge(a, b, Sim3(), LOOPS, LOOP) for a, b in [(5, 4), (4, 2), (7, 8)]]
    assert parts([1, 2, 4, 5, 7, 8], edges) == {1: 1, 2: 2, 4: 2, 5: 2, 7: 7, 8: 7}


def test_without_gtsam_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"spann3r_ros\[mapping\]"):
        require_gtsam()
    with pytest.raises(ConfigError, match=r"spann3r_ros\[mapping\]"):
        solve({0: Sim3()}, [])


@needs_gtsam
def test_where_all_edges_weigh_alike_it_is_as_good_as_the_published_graph() -> None:
    """Both measure residuals in an edge's second submap; the published one numbers the ends of an edge backward."""
    ring, alike = Ring(12), EdgeNoise(1.0, 1.0, 1.0)
    steps = [joint.first_from_second for joint in ring.joints]
    loops = [GraphEdge(9, 1, ring.measured(1, 9, LOOPS, LOOP).first_from_second)]
    edges = [SubmapEdge(n + 1, n, step.inverse(), alike, JOINT) for n, step in enumerate(steps)]
    edges += [SubmapEdge(e.first, e.second, e.second_from_first.inverse(), alike, LOOP) for e in loops]
    found = solve(ring.places, edges, {edge.key for edge in edges}).world_from_submap

    def cost(places: list[Sim3]) -> float:
        unknowns = np.stack([sim3_log(place.inverse()) for place in places])
        return float(np.mean(linearized(graph_edges(steps, loops), unknowns).residuals ** 2))

    published = cost(accumulated(optimized(steps, loops).steps))
    assert cost([found[n] for n in range(12)]) == pytest.approx(published, rel=1e-3)
    assert published < 0.5 * cost(accumulated(steps))
