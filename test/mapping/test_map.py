import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.config import MapConfig
from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Frame
from spann3r_ros.mapping.filters import cloud_from_prediction
from spann3r_ros.mapping.map import Map, Submap
from spann3r_ros.mapping.voxel_grid import VoxelGrid, voxel_keys
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import Trajectory


def prediction(index: int, pose: bool = True, refined: bool = True) -> Prediction:
    rng = np.random.default_rng(index)
    points = rng.uniform((index, 0, 0), (index + 1, 1, 1), (12, 16, 3)).astype(np.float32)
    return Prediction(
        Frame(index, index * 10**8, "camera", np.zeros((12, 16, 3), np.uint8)),
        points,
        rng.uniform(0, 1, (12, 16)).astype(np.float32),
        rng.integers(0, 256, (12, 16, 3), dtype=np.uint8),
        Sim3(translation=np.array([float(index), 0.5, 0.5])) if pose else None,
        refined=refined,
    )


def test_points_and_poses_of_confident_pixels_arrive():
    world = Map(MapConfig(min_confidence=0.5, voxel_size=0.001, max_points=10_000))
    for index in range(3):
        world.insert(prediction(index))
    expected = np.concatenate([cloud_from_prediction(prediction(index), 0.5).points for index in range(3)])
    assert len(world) == len(world.cloud()) == len(expected)
    order, reference = (np.lexsort(points.T) for points in (world.cloud().points, expected))
    np.testing.assert_allclose(world.cloud().points[order], expected[reference], rtol=1e-6)
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
    far = world.cloud().points[:, 0] > 1.5
    assert 0 < far.sum() < 40 and np.linalg.norm(world.cloud().points[far] - (2, 0.5, 0.5), axis=1).max() <= 0.2
    config.voxel_size = 0.25
    world.insert(prediction(3))
    cloud = world.cloud()
    assert world.submaps[0].cloud.voxel_size == 0.25
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
    world.insert_pose(prediction(0, refined=False))
    assert len(world) == 0
    world.insert(prediction(0, refined=True))
    assert len(world.trajectory()) == 1 and world.trajectory()[0].refined


def test_clear_begins_a_new_world():
    world = Map(MapConfig())
    world.insert(prediction(0))
    world.clear()
    assert len(world) == len(world.cloud()) == len(world.trajectory()) == 0
    world.insert(prediction(0))
    assert len(world) > 0


def test_a_correction_moves_points_and_poses_and_later_frames_fit():
    world = Map(MapConfig(min_confidence=0.0, voxel_size=0.001))
    world.insert(prediction(0))
    before, pose = world.cloud().points, world.trajectory()[0].world_from_camera
    correction = Sim3(1.1, Rotation.from_euler("z", 30, degrees=True).as_matrix(), np.array([1.0, 2.0, 3.0]))
    world.submaps[0].world_from_submap = correction
    np.testing.assert_allclose(world.cloud().points, correction.apply(before), rtol=1e-5)
    moved = world.trajectory()[0].world_from_camera
    np.testing.assert_allclose(moved.translation, correction.apply(pose.translation))
    np.testing.assert_allclose(moved.rotation, correction.rotation @ pose.rotation)
    assert moved.scale == 1.0
    world.insert(prediction(5))
    points = world.cloud().points
    expected = prediction(5).points.reshape(-1, 3)
    distances = np.linalg.norm(points[:, None] - expected[None], axis=2).min(axis=0)
    assert distances.max() < 1e-4, "what is inserted in the world comes back at the same place in the world"
    np.testing.assert_allclose(world.trajectory()[1].world_from_camera.translation, [5, 0.5, 0.5], atol=1e-9)


def test_several_submaps_are_one_cloud():
    world = Map(MapConfig(min_confidence=0.0))
    world.insert(prediction(0))
    first = len(world)
    place = Sim3(translation=np.array([0.0, 0.0, 10.0]))
    world.submaps.append(Submap(1, place, VoxelGrid(0.02, 1000), Trajectory()))
    world.insert(prediction(1))
    cloud = world.cloud()
    assert len(cloud) == len(world) == first + len(world.submaps[1].cloud)
    assert world.submaps[1].cloud.cloud().points[:, 2].max() < -8
    assert cloud.points[:, 2].max() < 1.01 and cloud.points[:, 2].min() > -0.01
    assert [pose.index for pose in world.trajectory()] == [0, 1]
    world.clear()
    assert len(world.submaps) == 1
