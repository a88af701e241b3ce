from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from odometry_walks import World, answers, odometry, turning_in_place, walk

from spann3r_ros.mapping.pose_graph import JOINT, EdgeNoise, SubmapEdge
from spann3r_ros.sim3 import Sim3

UNITS = (2.0, 0.7)


def two_submaps(world: World, rng: np.random.Generator, jump: float = 0.0, units: tuple[float, float] = UNITS) -> Sim3:
    """A walk of 15 m whose memory begins anew after two thirds, after a second of darkness; the true first_from_second.

    No frame is shared: the second submap begins where a network begins, in its own camera, in its own unit.
    """
    truth = walk(240, 15.0, rng)
    told = odometry(truth, rng)
    told[170:] = [Sim3(translation=np.array([jump, 0.0, 0.0])) @ pose for pose in told[170:]]
    world.take(answers(truth[:160], told[:160], units[0], rng))
    world.take(answers(truth[170:], told[170:], units[1], rng, submap=1, start=170))
    first = Sim3(units[0]).inverse() @ truth[0].inverse()
    return first @ truth[170] @ Sim3(units[1])


@pytest.mark.parametrize("metric", [False, True])
def test_a_submap_that_nothing_joins_is_placed_by_odometry(metric: bool) -> None:
    for seed in range(3):
        world = World(metric=metric)
        units = (1.0, 0.7) if metric else UNITS
        truth = two_submaps(world, np.random.default_rng(seed), units=units)
        places = [world.map.submap(number).world_from_submap for number in (0, 1)]
        found = places[0].inverse() @ places[1]
        error = truth.inverse() @ found
        assert abs(np.log(error.scale)) < 0.06
        assert error.rotation_angle() < np.radians(1.5)
        assert np.linalg.norm(places[0].scale * (found.translation - truth.translation)) < 0.25  # m, after 10 m
        edge = world.usual.anchor.edges[1]
        assert (edge.first, edge.second) == (0, 1)
        assert 0.02 < edge.noise.translation * places[1].scale < 0.1 and edge.noise.scale < 0.06
        # And it is in the graph, where that can be solved.
        assert [each.key for each in world.graph.edges()] == [edge.key] * (find_spec("gtsam") is not None)
        assert world.complaint("unplaced submap") == ""


def test_a_joined_submap_is_left_alone_but_its_factor_is_there() -> None:
    world = World()
    world.graph.put(SubmapEdge(0, 1, Sim3(), EdgeNoise(0.1, 0.1, 0.1), JOINT))
    truth = two_submaps(world, np.random.default_rng(0))
    # Where the newest submap lies: nobody moved it but the scale of the whole world.
    relation = world.map.submap(0).world_from_submap.inverse() @ world.map.submap(1).world_from_submap
    np.testing.assert_allclose(relation.matrix(), np.eye(4), atol=1e-9)
    factor = world.usual.anchor.edges[1].first_from_second
    assert (truth.inverse() @ factor).rotation_angle() < np.radians(2.0)


def test_all_samples_tell_how_two_submaps_lie_not_only_those_where_they_meet() -> None:
    """Cameras that shake by three degrees: ten of them tell a turn to a degree, a hundred to half of one."""
    errors = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = walk(300, 15.0, rng, turning=2.0)
        told = odometry(truth, rng, noise=0.0)
        world = World(metric=True)
        world.take(answers(truth[:150], told[:150], 1.0, rng, turn_noise=np.radians(3.0)))
        world.take(answers(truth[150:], told[150:], 1.0, rng, turn_noise=np.radians(3.0), submap=1, start=150))
        edge = world.usual.anchor.edges[1]
        error = (truth[0].inverse() @ truth[150]).inverse() @ edge.first_from_second
        errors.append(np.degrees(error.rotation_angle()))
    assert np.median(errors) < 0.7, errors


def test_odometry_that_jumped_within_a_submap_counts_from_there_on_only() -> None:
    for jump in (0.0, 6.0):
        rng = np.random.default_rng(3)
        truth = walk(300, 15.0, rng)
        told = odometry(truth, rng, noise=0.0)
        moved = Sim3(translation=np.array([jump, 0.0, 0.0]))
        told = [*(moved @ pose for pose in told[:75]), *told[75:225], *(moved @ pose for pose in told[225:])]
        world = World(metric=True)
        world.take(answers(truth[:150], told[:150], 1.0, rng))
        world.take(answers(truth[150:], told[150:], 1.0, rng, submap=1, start=150))
        error = (truth[0].inverse() @ truth[150]).inverse() @ world.usual.anchor.edges[1].first_from_second
        assert np.linalg.norm(error.translation) < 0.1 and error.rotation_angle() < np.radians(0.5)


def test_what_odometry_did_to_a_scale_is_not_measured_again() -> None:
    """A camera that turns tells no unit: the one that was guessed stays, whatever the graph makes of the submap."""
    rng = np.random.default_rng(7)
    truth = walk(100, 6.0, rng)
    told = odometry(truth, rng)
    world = World(metric=True)
    world.take(answers(truth, told, 1.0, rng))
    # It stands and turns.
    turns = [truth[-1] @ pose for pose in turning_in_place(20, rng)]
    odom_turns = [told[-1] @ truth[-1].inverse() @ pose for pose in turns]
    data = answers(turns, odom_turns, 1.0, rng, submap=1, start=100)
    world.take(data[:10])
    place = world.map.submap(1).world_from_submap
    before = world.usual.anchor.edges[1].first_from_second.scale
    world.map.move(1, Sim3(2.0 * place.scale, place.rotation, place.translation), "the graph")
    world.take(data[10:])
    assert world.usual.anchor.edges[1].first_from_second.scale == pytest.approx(before)


def test_odometry_that_jumped_between_two_submaps_places_nothing_and_says_so() -> None:
    world = World()
    two_submaps(world, np.random.default_rng(1), jump=40.0)
    relation = world.map.submap(0).world_from_submap.inverse() @ world.map.submap(1).world_from_submap
    assert relation.is_identity() or np.allclose(relation.matrix(), np.eye(4))
    assert "odometry, which jumped" in world.complaint("unplaced submap")
    assert not world.usual.anchor.edges


def test_odometry_that_lags_is_right_or_is_not_believed() -> None:
    """A delay of a third of a second: rotations come apart in curves, lengths do not."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        truth = walk(153, 8.0, rng, turning=3.0)
        told = odometry(truth, rng)
        world = World().take(answers(truth[3:], told[:-3], 1.7, rng))
        assert not world.map.metric or abs(world.scale / 1.7 - 1) < 0.03


def test_frames_without_odometry_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    truth = walk(160, 8.0, rng)
    told: list[Sim3 | None] = [pose if rng.random() > 0.4 else None for pose in odometry(truth, rng)]
    world = World().take(answers(truth, told, 1.7, rng))
    assert world.map.metric and abs(world.scale / 1.7 - 1) < 0.01
    track = world.usual.anchor.track
    assert track.found == sum(pose is not None for pose in told) and track.lacking == 160 - track.found


def test_odometry_of_another_clock_is_missed_aloud() -> None:
    world = World()
    world.usual.tell(lambda _camera, _stamp: None, lambda _first, _second, _stamp: None)
    rng = np.random.default_rng(3)
    truth = walk(60, 3.0, rng)
    world.take(answers(truth, [None] * 60, 1.0, rng))
    assert not world.map.metric
    assert "images had odometry at its stamp" in world.complaint("scale by odometry")
    assert "has the clock of the images" in world.usual.scale.status.note


def test_standing_odometry_is_told_and_settles() -> None:
    world = World()
    rng = np.random.default_rng(4)
    truth = walk(300, 18.0, rng)
    told = odometry(truth, rng)
    standing = [told[0]] * 80 + [told[0] @ told[80].inverse() @ pose for pose in told[80:]]
    data = answers(truth, standing, 1.0, rng)
    world.take(data[:80])
    assert "odometry stands still while the camera moves" in world.complaint("scale by odometry")
    assert not world.map.metric
    world.take(data[80:])
    assert world.map.metric and abs(world.scale - 1) < 0.01
    assert not world.complaint("scale by odometry")


def test_a_world_goes_on_where_it_was_saved_though_odometry_began_anew() -> None:
    rng = np.random.default_rng(5)
    truth = walk(200, 10.0, rng)
    told = odometry(truth, rng)
    restarted = [told[100].inverse() @ pose for pose in told]  # of a robot that was switched off
    data = answers(truth, [*told[:100], *restarted[100:]], 2.5, rng)
    world = World().take(data[:100])
    assert world.map.metric
    other = World()
    for before, after in zip(world.correctors, other.correctors, strict=True):
        after.restore(before.saved())
    other.map = world.map
    other.take(data[100:])
    assert other.usual.anchor.track.added == 200
    assert abs(other.scale / 2.5 - 1) < 0.005
    assert not other.complaint("scale by odometry")


def test_samples_that_it_did_not_write_are_refused() -> None:
    rng = np.random.default_rng(6)
    truth = walk(20, 2.0, rng)
    anchor = World().take(answers(truth, odometry(truth, rng), 1.0, rng)).usual.anchor
    state = anchor.saved()
    for name, wrong in (("told", np.zeros((3, 4, 4))), ("depths", -state["depths"]), ("seen", 2 * state["seen"])):
        with pytest.raises(ValueError, match=r".+"):
            anchor.restore({**state, name: wrong})
    assert len(anchor.track.samples) == len(state["depths"])
    anchor.restore({})
    assert anchor.saved() == {}
