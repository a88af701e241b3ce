import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.config import MapConfig
from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.mapping.filters import cloud_from_prediction
from spann3r_ros.mapping.map import RATE_FRAMES, Map
from spann3r_ros.mapping.voxel_grid import voxel_keys
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3


def prediction(index: int, pose: bool = True, final: bool = True) -> Prediction:
    rng = np.random.default_rng(index)
    points = rng.uniform((index, 0, 0), (index + 1, 1, 1), (12, 16, 3)).astype(np.float32)
    return Prediction(
        Frame(index, index * 10**8, "camera", np.zeros((12, 16, 3), np.uint8)),
        points,
        rng.uniform(0, 1, (12, 16)).astype(np.float32),
        rng.integers(0, 256, (12, 16, 3), dtype=np.uint8),
        Sim3(translation=np.array([float(index), 0.5, 0.5])) if pose else None,
        final=final,
    )


def test_points_and_poses_of_confident_pixels_arrive():
    world = Map(MapConfig(min_confidence=0.5, voxel_size=0.001, max_points=10_000))
    for index in range(3):
        world.insert(prediction(index))
    expected = np.concatenate([cloud_from_prediction(prediction(index), 0.5).points for index in range(3)])
    assert len(world) == len(world.cloud()) == len(expected)
    np.testing.assert_allclose(sorted_points(world.cloud().points), sorted_points(in_ros_axes(expected)), atol=1e-6)
    assert [pose.stamp for pose in world.trajectory()] == [0, 10**8, 2 * 10**8]


def test_a_frame_without_a_pose_gives_points_but_no_pose():
    world = Map(MapConfig())
    assert world.insert(prediction(0, pose=False)).added > 0
    assert len(world.trajectory()) == 0


def test_thresholds_can_change_in_place():
    config = MapConfig(min_confidence=0.0, voxel_size=0.05)
    world = Map(config)
    world.insert(prediction(0))
    config.min_confidence = 1.0
    assert world.insert(prediction(1)).added == 0
    config.min_confidence, config.max_range = 0.0, 0.2
    world.insert(prediction(2))
    far = world.cloud().points[:, 1] < -1.5
    assert 0 < far.sum() < 40 and np.linalg.norm(world.cloud().points[far] - (0.5, -2, -0.5), axis=1).max() <= 0.2
    config.voxel_size = 0.25
    world.insert(prediction(3))
    cloud = world.cloud()
    assert world.submaps[0].voxels.voxel_size == 0.25
    assert len(np.unique(voxel_keys(cloud.points, 0.25)[0])) == len(cloud)


def test_a_voxel_size_too_small_for_the_map_changes_nothing():
    config = MapConfig(min_confidence=0.0)
    world = Map(config)
    world.insert(prediction(150))
    before, config.voxel_size = len(world), 1e-4
    with pytest.raises(GeometryError, match="voxel size"):
        world.insert(prediction(151))
    assert (len(world), len(world.trajectory()), world.revision) == (before, 1, 2)


def test_the_revision_grows_with_every_change():
    world = Map(MapConfig())
    seen = [world.revision]
    for action in (
        lambda: world.insert(prediction(0)),
        lambda: world.insert_pose(prediction(1)),
        lambda: world.insert(prediction(2, pose=False)),
        world.clear,
    ):
        action()
        seen.append(world.revision)
    assert seen == sorted(set(seen))


def test_two_answers_about_one_frame():
    world = Map(MapConfig(min_confidence=0.0))
    world.insert_pose(prediction(0, final=False))
    assert len(world) == 0
    world.insert(prediction(0, final=True))
    assert len(world.trajectory()) == 1 and world.trajectory()[0].final


def test_clear_begins_a_new_world():
    world = Map(MapConfig())
    world.insert(prediction(0))
    world.clear()
    assert len(world) == len(world.cloud()) == len(world.trajectory()) == 0
    world.insert(prediction(0))
    assert len(world) > 0


def in_ros_axes(points: np.ndarray) -> np.ndarray:
    return np.stack([points[..., 2], -points[..., 0], -points[..., 1]], axis=-1)


def sorted_points(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(np.round(points, 5).T)]


CORRECTIONS = [
    Sim3(translation=np.array([0.0, 10.0, 0.0])),
    Sim3.rigid(Rotation.from_euler("z", 90, degrees=True).as_matrix(), np.zeros(3)),
    Sim3(2.0),
    Sim3(1.1, Rotation.from_euler("xyz", [30, 20, 10], degrees=True).as_matrix(), np.array([1.0, 2.0, 3.0])),
]


@pytest.mark.parametrize("correction", CORRECTIONS, ids=["translation", "rotation", "scale", "all"])
def test_a_moved_submap_carries_what_comes_after_it(correction):
    config = MapConfig(min_confidence=0.0, voxel_size=0.0002, max_points=5000)
    world, still = Map(config), Map(config)
    for index in range(2):
        world.insert(prediction(index))
        still.insert(prediction(index))
    world.move(0, correction @ world.submap(0).world_from_submap, "a test")
    for index in range(2, 4):
        world.insert(prediction(index))
        still.insert(prediction(index))
    expected = correction.apply(still.cloud().points)
    np.testing.assert_allclose(sorted_points(world.cloud().points), sorted_points(expected), atol=2e-4)
    for mine, theirs in zip(world.trajectory(), still.trajectory(), strict=True):
        wanted = correction.carry(theirs.target_from_camera)
        np.testing.assert_allclose(mine.target_from_camera.matrix(), wanted.matrix(), atol=1e-9)
        assert mine.target_from_camera.scale == 1.0
    one, other = world.in_world(prediction(3)), still.in_world(prediction(3))
    np.testing.assert_allclose(one.points, correction.apply(other.points), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        one.world_from_camera.matrix(), correction.carry(other.world_from_camera).matrix(), atol=1e-9
    )
    assert world.reason == "a test"


def test_the_world_has_ros_axes():
    world = Map(MapConfig(min_confidence=0.0, voxel_size=0.0002))
    world.insert(prediction(0))
    np.testing.assert_array_equal(world.in_world(prediction(0)).points, in_ros_axes(prediction(0).points))
    np.testing.assert_allclose(
        sorted_points(world.cloud().points), sorted_points(in_ros_axes(prediction(0).points).reshape(-1, 3)), atol=1e-6
    )
    np.testing.assert_allclose(world.trajectory()[0].target_from_camera.translation, [0.5, 0.0, -0.5])


def in_submap(index: int, submap: int) -> Prediction:
    return dataclasses.replace(prediction(index), submap=submap)


def test_of_two_submaps_only_the_moved_one_moves():
    world = Map(MapConfig(min_confidence=0.0, voxel_size=0.0002, max_points=100_000))
    world.insert(in_submap(0, 0))
    world.insert(in_submap(1, 1))
    assert [submap.id for submap in world.submaps] == [0, 1]
    before, path = world.cloud().points, [pose.target_from_camera for pose in world.trajectory()]
    first = len(world.submaps[0].voxels)
    correction = Sim3(2.0, Rotation.from_euler("y", 40, degrees=True).as_matrix(), np.array([0.0, 10.0, 0.0]))
    world.move(1, correction @ world.submap(1).world_from_submap)
    np.testing.assert_array_equal(world.cloud().points[:first], before[:first])
    np.testing.assert_allclose(
        sorted_points(world.cloud().points[first:]), sorted_points(correction.apply(before[first:])), atol=2e-4
    )
    after = [pose.target_from_camera for pose in world.trajectory()]
    np.testing.assert_array_equal(after[0].matrix(), path[0].matrix())
    np.testing.assert_allclose(after[1].matrix(), correction.carry(path[1]).matrix(), atol=1e-9)
    # Late answers go where their submap is, whichever is the newest.
    world.insert(in_submap(2, 0))
    world.insert(in_submap(3, 1))
    np.testing.assert_allclose(
        world.in_world(in_submap(3, 1)).points,
        correction.apply(in_ros_axes(prediction(3).points)),
        rtol=1e-5,
        atol=1e-5,
    )
    np.testing.assert_array_equal(world.in_world(in_submap(2, 0)).points, in_ros_axes(prediction(2).points))
    assert [pose.index for pose in world.trajectory()] == [0, 2, 1, 3]
    world.clear()
    assert len(world.submaps) == 1 and len(world) == 0


def test_a_new_submap_begins_where_the_newest_lies_and_a_frame_has_one_pose():
    world = Map(MapConfig(min_confidence=0.0))
    world.insert(in_submap(0, 0))
    place = Sim3(3.0, translation=np.array([1.0, 2.0, 3.0]))
    world.move(0, place)
    world.insert(in_submap(0, 7))
    np.testing.assert_array_equal(world.submap(7).world_from_submap.matrix(), place.matrix())
    assert len(world.trajectory()) == 1
    world.move(7, Sim3())
    np.testing.assert_allclose(world.trajectory()[0].target_from_camera.translation, [0.0, 0.5, 0.5])


def test_a_scale_keeps_the_size_of_voxels_in_the_world():
    config = MapConfig(min_confidence=0.0, voxel_size=0.1)
    world = Map(config)
    world.insert(prediction(0))
    world.move(0, Sim3(4.0))
    assert world.submap(0).voxels.voxel_size == pytest.approx(0.025)
    world.move(0, Sim3(4.1))  # too little to sort all points anew
    assert world.submap(0).voxels.voxel_size == pytest.approx(0.025)
    config.voxel_size = 0.2
    world.insert(prediction(1))
    assert world.submap(0).voxels.voxel_size == pytest.approx(0.2 / 4.1)
    config.max_range = 4.1 * 0.3
    before = len(world)
    world.insert(prediction(9))
    near = np.linalg.norm(prediction(9).points - (9, 0.5, 0.5), axis=2) <= 0.3
    assert 0 < len(world) - before <= near.sum()


def test_impossible_moves_change_nothing():
    world = Map(MapConfig(min_confidence=0.0))
    world.insert(prediction(150))
    before = world.revision
    with pytest.raises(GeometryError, match=r"submap: got 3; expected one of \[0\]"):
        world.move(3, Sim3())
    with pytest.raises(GeometryError, match="voxel size"):
        world.move(0, Sim3(1e6))
    with pytest.raises(GeometryError, match="number of a new submap"):
        world.open_submap(0)
    assert world.revision == before and world.submap(0).world_from_submap.scale == 1.0


def test_many_submaps_hold_no_more_points_than_one():
    world = Map(MapConfig(min_confidence=0.0, voxel_size=0.001, max_points=1000, coarsening=1.0))
    for index in range(40):
        world.insert(in_submap(index, index))
        assert len(world) <= 1000
    assert len(world.submaps) == 40 and len(world.submaps[-1].voxels) == 192
    held = sum(submap.voxels.max_points for submap in world.submaps)
    assert held <= 2000, "buffers of older submaps shrink to what they hold"


@pytest.mark.fault("words")
def test_points_that_are_forgotten_or_refused_are_counted():
    world = Map(MapConfig(min_confidence=0.0, voxel_size=0.001, max_points=1000))
    updates = [world.insert(prediction(index)) for index in range(8)]
    assert world.forgotten == sum(update.forgotten for update in updates) > 0
    assert len(world) == sum(update.added for update in updates) - world.forgotten
    assert world.forgetting_rate == world.forgotten / 8, "over all frames while they are few"
    far = prediction(8)
    far.points[:6] = 1e9
    world.insert(far)
    assert world.refused == 6 * 16
    before = world.forgotten, len(world)
    world.open_submap(1)
    assert world.forgotten - before[0] == before[1] - len(world) > 0, "points that give way to a new submap"
    world.clear()
    assert world.forgotten == world.refused == world.forgetting_rate == 0


@pytest.mark.fault("map bound")
def test_the_rate_of_forgetting_is_that_of_the_last_frames():
    world = Map(MapConfig(min_confidence=0.0, voxel_size=0.001, max_points=1000))
    updates = [world.insert(prediction(index)) for index in range(30)]
    assert world.forgetting_rate == sum(update.forgotten for update in updates[-RATE_FRAMES:]) / RATE_FRAMES > 0
    for _ in range(RATE_FRAMES):
        world.insert(prediction(29))  # which is in the map already
    assert world.forgetting_rate == 0 < world.forgotten


CAMERA = Intrinsics(40.0, 40.0, 31.5, 23.5, 64, 48)


def seen(depth: np.ndarray, index: int, pose: bool = True) -> Prediction:
    """What a camera at the origin answers about surfaces of that depth (48, 64)."""
    picture = np.full((48, 64, 3), 100, np.uint8)
    points = backproject(depth.astype(np.float32), CAMERA).astype(np.float32)
    frame = Frame(index, index * 10**8, "camera", picture, CAMERA)
    confidence = np.full((48, 64), 0.9, np.float32)
    return Prediction(frame, points, confidence, picture, Sim3() if pose else None, intrinsics=CAMERA)


def depths(world: Map) -> np.ndarray:
    """Of what is published, along the camera's axis."""
    return ROS_FROM_OPTICAL.inverse().apply(world.cloud().points)[:, 2]


def box_before_a_wall() -> np.ndarray:
    depth = np.full((48, 64), 3.0)
    depth[10:30, 20:40] = 1.5
    depth[9:31, 19:41][depth[9:31, 19:41] == 3.0] = 2.2  # between the two: these fly
    return depth


def test_pixels_that_fly_between_two_surfaces_do_not_enter():
    with_them, without = Map(MapConfig(voxel_size=0.05, max_slant=90.0)), Map(MapConfig(voxel_size=0.05))
    for world in (with_them, without):
        world.insert(seen(box_before_a_wall(), 0))
    assert (np.abs(depths(with_them) - 2.2) < 0.1).sum() > 20
    assert not (np.abs(depths(without) - 2.2) < 0.1).any()
    assert (np.abs(depths(without) - 1.5) < 0.1).any() and (np.abs(depths(without) - 3.0) < 0.1).any()
    unknown = Map(MapConfig(voxel_size=0.05))
    unknown.insert(seen(box_before_a_wall(), 0, pose=False))  # whose surface nobody knows is not judged
    assert len(unknown) == len(with_them)


def test_what_floats_is_gone_when_the_camera_has_looked_through_it():
    world = Map(MapConfig(voxel_size=0.05))
    ghost, wall = np.full((48, 64), 1.0), np.full((48, 64), 3.0)
    world.insert(seen(ghost, 0))
    assert (depths(world) < 1.2).sum() > 100
    world.insert(seen(wall, 1))
    assert (depths(world) < 1.2).sum() == 0 and world.cleared > 100 and (depths(world) > 2.8).sum() > 100
    patient = Map(MapConfig(voxel_size=0.05, clear_margin=0.0))
    for index, depth in enumerate((ghost, wall)):
        patient.insert(seen(depth, index))
    assert patient.cleared == 0 and (depths(patient) < 1.2).any()


def test_the_frames_that_must_agree_can_change_while_the_map_grows():
    world = Map(MapConfig(voxel_size=0.05, min_observations=1, clear_margin=0.0))
    for index in range(12):
        depth = np.full((48, 64), 3.0)
        if index == 5:
            depth[20:24, 30:34] = 2.9
        world.insert(seen(depth, index))
    everything = len(world.cloud())
    assert everything == len(world) and (depths(world) < 2.95).any()
    world.config.min_observations = 6
    assert 0.9 * everything < len(world.cloud()) < everything and not (depths(world) < 2.95).any()
