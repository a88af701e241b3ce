from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.sim3_algebra import sim3_exp
from spann3r_ros.mapping.sim3_graph import GraphEdge, accumulated, optimized
from spann3r_ros.sim3 import Sim3

COUNT = 10


def ring() -> list[Sim3]:
    """World poses of chunks on a circle, each with a unit of its own."""
    return [
        Sim3(
            1.0 + 0.1 * np.sin(k),
            Rotation.from_euler("z", 36 * k, degrees=True).as_matrix(),
            5.0 * np.array([np.cos(np.radians(36 * k)), np.sin(np.radians(36 * k)), 0.0]),
        )
        for k in range(COUNT)
    ]


def measured(poses: list[Sim3], noise: float) -> list[Sim3]:
    rng = np.random.default_rng(0)
    return [a.inverse() @ b @ sim3_exp(noise * rng.normal(size=7)) for a, b in pairwise(poses)]


def loop(poses: list[Sim3], first: int, second: int) -> GraphEdge:
    return GraphEdge(first, second, poses[second].inverse() @ poses[first])


def errors(steps: list[Sim3], poses: list[Sim3]) -> list[float]:
    true = [poses[0].inverse() @ pose for pose in poses]
    found = accumulated(steps)
    return [float(np.linalg.norm(a.translation - b.translation)) for a, b in zip(found, true, strict=True)]


def test_a_loop_takes_the_drift_out() -> None:
    poses = ring()
    steps = measured(poses, 0.03)
    solution = optimized(steps, [loop(poses, COUNT - 1, 0)])
    before, after = errors(steps, poses), errors(solution.steps, poses)
    assert max(after) < 0.7 * max(before) and after[-1] < 0.3 * before[-1]
    assert solution.costs[-1] < 0.1 * solution.costs[0]


def test_either_direction_of_a_loop_says_the_same() -> None:
    poses = ring()
    steps = measured(poses, 0.03)
    one = optimized(steps, [loop(poses, COUNT - 1, 0)]).steps
    other = optimized(steps, [loop(poses, 0, COUNT - 1)]).steps
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.matrix(), b.matrix(), atol=1e-2)


def test_consistent_measurements_stay_and_end_early() -> None:
    poses = ring()
    steps = measured(poses, 0.0)
    solution = optimized(steps, [loop(poses, COUNT - 1, 0)])
    assert len(solution.costs) < 30
    for a, b in zip(solution.steps, steps, strict=True):
        np.testing.assert_allclose(a.matrix(), b.matrix(), atol=1e-9)


def test_without_loops_nothing_changes() -> None:
    steps = measured(ring(), 0.03)
    solution = optimized(steps, [])
    assert solution.steps == steps and solution.costs == []
    assert len(accumulated([])) == 1 and optimized([], []).steps == []


@pytest.mark.parametrize("ends", [(0, COUNT), (-1, 3), (4, 4)])
def test_a_loop_of_chunks_that_are_none_is_refused(ends: tuple[int, int]) -> None:
    with pytest.raises(GeometryError, match="chunks of a loop"):
        optimized(measured(ring(), 0.0), [GraphEdge(*ends, Sim3())])
