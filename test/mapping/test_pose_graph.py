from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.sim3_algebra import sim3_exp, sim3_log
from spann3r_ros.mapping.pose_graph import ANCHOR, JOINT, LOOP, ODOMETRY, EdgeNoise, PoseGraph, SubmapAnchor, SubmapEdge
from spann3r_ros.sim3 import Sim3

NOISE = EdgeNoise(0.02, 0.1, 0.03)


def similarity(seed: int) -> Sim3:
    return sim3_exp(np.random.default_rng(seed).normal(0, 0.5, 7))


def test_a_later_measurement_of_the_same_kind_and_submaps_replaces_the_earlier() -> None:
    graph = PoseGraph()
    graph.put(SubmapEdge(0, 1, similarity(0), NOISE, JOINT))
    graph.put(SubmapEdge(0, 1, similarity(1), NOISE, ODOMETRY))
    before = graph.revision
    graph.put(SubmapEdge(0, 1, similarity(2), NOISE, JOINT))
    assert graph.revision > before and len(graph) == 2
    (joint,) = graph.edges(JOINT)
    np.testing.assert_array_equal(joint.first_from_second.matrix(), similarity(2).matrix())


def test_only_what_goes_beyond_joints_needs_a_solution_and_a_submap_of_two_edges_is_no_leaf() -> None:
    graph = PoseGraph()
    graph.put(SubmapEdge(0, 1, similarity(0), NOISE, JOINT))
    graph.put(SubmapEdge(1, 2, similarity(1), NOISE, JOINT))
    assert not graph.has_more_than_joints() and graph.is_leaf(2) and not graph.is_leaf(1)
    loop = SubmapEdge(0, 2, similarity(2), NOISE, LOOP)
    graph.put(loop)
    assert graph.has_more_than_joints() and not graph.is_leaf(2)
    graph.drop(loop.key)
    assert not graph.has_more_than_joints() and graph.is_leaf(2)


def test_an_anchor_makes_a_submap_more_than_a_leaf() -> None:
    graph = PoseGraph()
    graph.put(SubmapEdge(0, 1, similarity(0), NOISE, JOINT))
    graph.put(SubmapAnchor(1, similarity(3), NOISE))
    assert graph.has_more_than_joints() and not graph.is_leaf(1)


def test_a_graph_comes_back_as_it_was_saved() -> None:
    graph, other = PoseGraph(), PoseGraph()
    there = EdgeNoise(0.01, 0.2, 0.03, Sim3.rigid(similarity(5).rotation, similarity(5).translation))
    graph.put(SubmapEdge(0, 3, similarity(0), NOISE, JOINT))
    graph.put(SubmapEdge(1, 3, similarity(1), there, LOOP))
    graph.put(SubmapAnchor(2, similarity(2), NOISE))
    other.put(SubmapEdge(8, 9, similarity(4), NOISE, JOINT))
    other.restore(graph.saved())
    assert [each.key for each in other.measurements()] == [(JOINT, 0, 3), (LOOP, 1, 3), (ANCHOR, 2, 2)]
    for one, again in zip(graph.measurements(), other.measurements(), strict=True):
        np.testing.assert_allclose(one.noise.covariance(), again.noise.covariance(), rtol=1e-9, atol=1e-12)
    (loop,) = other.edges(LOOP)
    np.testing.assert_allclose(loop.first_from_second.matrix(), similarity(1).matrix(), atol=1e-12)
    other.restore({})
    assert len(other) == 0


@pytest.mark.parametrize(
    "damage",
    [
        {"kinds": np.array([9])},
        {"kinds": np.array([0.5])},
        {"measured": np.zeros((1, 4, 4))},
        {"deviations": np.array([[1.0, -1.0, 1.0]])},
        {"places": np.zeros((2, 4, 4))},
        {"submaps": np.array([[1, 1]])},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_damaged_arrays_are_refused_and_change_nothing(damage: dict[str, np.ndarray]) -> None:
    graph = PoseGraph()
    graph.put(SubmapEdge(0, 1, similarity(0), NOISE, JOINT))
    state = graph.saved()
    with pytest.raises((ValueError, KeyError)):
        graph.restore(state | damage)
    with pytest.raises(KeyError):
        graph.restore({name: value for name, value in state.items() if name != "places"})
    assert [each.key for each in graph.measurements()] == [(JOINT, 0, 1)]


def test_noise_at_a_distance_shifts_what_lies_elsewhere() -> None:
    place = Sim3.rigid(similarity(1).rotation, np.array([0.0, 0.0, 4.0]))
    noise = EdgeNoise(0.01, 0.02, 0.005, place)
    deviations = np.diag([noise.translation] * 3 + [noise.rotation] * 3 + [noise.scale])
    # What an error of one deviation along each axis at the place is at the submap's origin.
    errors = [sim3_log(place @ sim3_exp(row) @ place.inverse()) for row in deviations]
    np.testing.assert_allclose(noise.covariance(), sum(np.outer(error, error) for error in errors), atol=1e-9)
    assert noise.covariance()[0, 0] > 3 * noise.translation**2


@pytest.mark.parametrize("values", [(0.0, 1.0, 1.0), (1.0, np.nan, 1.0), (1.0, 1.0, -1.0)])
def test_noise_without_extent_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(GeometryError, match="standard deviations"):
        EdgeNoise(*values)


def test_an_edge_needs_two_submaps_and_a_known_kind() -> None:
    with pytest.raises(GeometryError, match="edge of a pose graph"):
        SubmapEdge(1, 1, Sim3(), NOISE, LOOP)
    with pytest.raises(GeometryError, match="edge of a pose graph"):
        SubmapEdge(1, 2, Sim3(), NOISE, ANCHOR)
