"""Walks and clips keep their distance, are smooth, and depend on the seed only."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.synthetic.renderer import Renderer
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, STYLES, Trajectories, camera_pose


@pytest.fixture(scope="module")
def trajectories() -> Trajectories:
    return Trajectories(Scene.apartment())


def places(poses) -> np.ndarray:
    return np.array([pose.translation for pose in poses])


def test_camera_pose_has_optical_axes() -> None:
    level = camera_pose(1.0, 2.0, 3.0, 0.0)
    np.testing.assert_allclose(level.rotation, [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-12)
    np.testing.assert_allclose(level.translation, (1, 2, 3))
    up = camera_pose(0, 0, 0, math.pi / 2, 0.3)
    np.testing.assert_allclose(up.rotation[:, 2], [0, math.cos(0.3), math.sin(0.3)], atol=1e-12)
    right_down = camera_pose(0, 0, 0, 0.0, 0.0, 0.2).rotation[:, 0]
    assert right_down[2] == pytest.approx(-math.sin(0.2))


@pytest.mark.parametrize("style", sorted(STYLES))
@pytest.mark.parametrize("seed", [0, 1, EVALUATION_SEED])
def test_walks_keep_clear_and_are_smooth(trajectories: Trajectories, style: str, seed: int) -> None:
    fps = 20.0
    walk = trajectories.walk(seed, 600, fps, style)
    at, manner = places(walk), STYLES[style]
    assert (trajectories.plan.clearance_at(at[:, :2]) > 0.24).all()
    speed = np.linalg.norm(np.diff(at, axis=0), axis=1) * fps
    assert speed.max() < manner.speed * 1.3
    assert np.linalg.norm(np.diff(at, 2, axis=0), axis=1).max() * fps**2 < 2.5
    turns = [(a.inverse() @ b).rotation_angle() * fps for a, b in itertools.pairwise(walk)]
    assert max(turns) < 2.2 * manner.turn
    assert manner.height[0] - 0.03 < at[:, 2].min()
    assert at[:, 2].max() < manner.height[1] + 0.03
    assert speed.sum() / fps > 8.0  # it gets somewhere in half a minute
    rooms = set(trajectories.plan.room_at(at[:, :2])) - {-1}
    assert len([room for room in rooms if room < 5]) >= 2


def test_the_camera_never_comes_near_a_surface(trajectories: Trajectories) -> None:
    """Seen from the renderer, which knows nothing of the floor plan: six directions all round."""
    renderer, camera = Renderer(trajectories.scene), Intrinsics(16, 16, 15.5, 15.5, 32, 32)
    x, y = (np.arange(32) - 15.5)[None, :] / 16, (np.arange(32) - 15.5)[:, None] / 16
    length = np.sqrt(1 + x * x + y * y)
    for style in STYLES:
        for pose in trajectories.walk(7, 60, 2.0, style):
            px, py, pz = pose.translation
            ring = [camera_pose(px, py, pz, yaw) for yaw in np.arange(4) * math.pi / 2]
            distance = (renderer.render_batch(ring, camera).depth * length).min()
            assert distance > 0.2


def test_robot_walks_are_level_and_look_ahead(trajectories: Trajectories) -> None:
    walk = trajectories.walk(5, 400, 10.0, "robot")
    at = places(walk)
    assert np.ptp(at[:, 2]) < 1e-9
    assert max(abs(pose.rotation[2, 0]) for pose in walk) < 1e-9
    step = np.diff(at[:, :2], axis=0)
    moving = np.linalg.norm(step, axis=1) > 0.03
    ahead = np.array([pose.rotation[:2, 2] for pose in walk[:-1]])
    along = (step * ahead).sum(1)[moving] / np.linalg.norm(step[moving], axis=1)
    assert np.median(along) > 0.9


def test_walks_depend_on_the_seed_only(trajectories: Trajectories) -> None:
    first = places(trajectories.walk(11, 50))
    np.testing.assert_array_equal(first, places(Trajectories(Scene.apartment()).walk(11, 50)))
    assert np.abs(first - places(trajectories.walk(12, 50))).max() > 0.1


def test_a_longer_walk_begins_in_the_same_place(trajectories: Trajectories) -> None:
    short, long = places(trajectories.walk(3, 20)), places(trajectories.walk(3, 40))
    np.testing.assert_allclose(short[0, :2], long[0, :2], atol=0.3)


def test_clips_are_short_varied_and_clear(trajectories: Trajectories) -> None:
    rng = np.random.default_rng(0)
    clips = [trajectories.sample_clip(rng, 5, step=(0.05, 0.2), turn=(0.0, 0.1)) for _ in range(100)]
    at = np.array([places(clip) for clip in clips])
    assert at.shape == (100, 5, 3)
    assert (trajectories.plan.clearance_at(at[..., :2]) > trajectories.clearance).all()
    steps = np.linalg.norm(np.diff(at[..., :2], axis=1), axis=2)
    assert steps.min() > 0.05 * 0.69
    assert steps.max() < 0.2 * 1.31
    rooms = trajectories.plan.room_at(at[:, 0, :2])
    assert set(range(5)) <= set(rooms.tolist())
    again = np.random.default_rng(0)
    same = trajectories.sample_clip(again, 5, step=(0.05, 0.2), turn=(0.0, 0.1))
    np.testing.assert_array_equal(at[0], places(same))


def test_bad_requests_are_refused(trajectories: Trajectories) -> None:
    with pytest.raises(DataError, match="one of robot, handheld"):
        trajectories.walk(0, 10, style="drone")
    with pytest.raises(DataError, match=">= 1"):
        trajectories.walk(0, 0)
    with pytest.raises(DataError, match="fits into a room"):
        trajectories.sample_clip(np.random.default_rng(0), 5, step=(20.0, 30.0))
    with pytest.raises(DataError, match="free space"):
        Trajectories(Scene.apartment(), clearance=3.0)
