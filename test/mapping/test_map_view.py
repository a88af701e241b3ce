"""A map as people see it, put together from copies."""

import numpy as np

from spann3r_ros.config import MapConfig
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.map_view import MapView
from spann3r_ros.mapping.voxels import Voxels
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import StampedPose


def world_of(submaps: int) -> Map:
    rng = np.random.default_rng(0)
    world = Map(MapConfig(voxel_size=0.05, max_points=100_000, min_confidence=0.0, min_observations=1))
    for number in range(submaps):
        if number:
            world.open_submap(number)
        insert(world, number, rng.uniform(-1, 1, (500, 3)))
        world.submaps[-1].poses.insert(
            StampedPose(number, number, "camera", Sim3.rigid(np.eye(3), np.full(3, float(number))), True)
        )
    world.join()  # the path is read from the submaps
    return world


def insert(world: Map, number: int, points: np.ndarray) -> None:
    cloud = PointCloud(
        points.astype(np.float32), np.zeros((len(points), 3), np.uint8), np.ones(len(points), np.float32)
    )
    world.submap(number).voxels.insert(cloud)


def in_order(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.T)]


def test_it_shows_the_cloud_and_the_path_of_the_map_at_the_moment_of_the_copy() -> None:
    world, view = world_of(3), MapView()
    view.copy(world)
    points, path = in_order(world.cloud().points), list(world.trajectory())
    world.move(1, Sim3(2.0, np.eye(3), np.ones(3)), "a loop")
    insert(world, 2, np.full((1, 3), 5.0))
    assert np.array_equal(in_order(view.cloud(1).points), points)
    assert [pose.stamp for pose in view.trajectory()] == [pose.stamp for pose in path]
    assert np.array_equal(view.trajectory()[1].target_from_camera.translation, path[1].target_from_camera.translation)
    view.copy(world)
    assert np.array_equal(in_order(view.cloud(1).points), in_order(world.cloud().points))
    assert len(view.cloud(1)) == len(points) + 1
    assert not np.allclose(view.trajectory()[1].target_from_camera.translation, path[1].target_from_camera.translation)


def test_only_what_changed_or_moved_is_computed_again(monkeypatch) -> None:
    world, view = world_of(4), MapView()
    view.copy(world)
    view.cloud(1)
    read, moved = [], []
    read_voxels, transform = Voxels.cloud, PointCloud.transformed
    monkeypatch.setattr(Voxels, "cloud", lambda *args: read.append(1) or read_voxels(*args))
    monkeypatch.setattr(PointCloud, "transformed", lambda *args: moved.append(1) or transform(*args))
    view.cloud(1)
    assert (len(read), len(moved)) == (0, 0)
    world.move(1, Sim3(1.1, np.eye(3), np.ones(3)))
    view.copy(world)
    view.cloud(1)
    assert (len(read), len(moved)) == (0, 1)
    insert(world, 2, np.full((1, 3), 5.0))
    view.copy(world)
    view.cloud(1)
    assert (len(read), len(moved)) == (1, 2)
    view.cloud(2)  # another number of frames that must agree
    assert (len(read), len(moved)) == (5, 6)


def test_submaps_that_are_not_placed_and_maps_that_began_anew_are_not_seen() -> None:
    world, view = world_of(2), MapView()
    assert len(view.cloud(1)) == 0 and len(view.trajectory()) == 0
    world.apart = 1
    view.copy(world)
    assert len(view.cloud(1)) == len(world.cloud()) < len(world) and len(view.trajectory()) == 1
    world.clear()
    insert(world, 0, np.full((1, 3), 1.0))
    view.copy(world)
    np.testing.assert_allclose(view.cloud(1).points, ROS_FROM_OPTICAL.apply(np.ones((1, 3))), atol=1e-6)
    assert len(view.trajectory()) == 0
