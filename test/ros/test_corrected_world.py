"""After a correction, everything that leaves the node speaks of the same, corrected world."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.geometry.message_pose import pose_from_message
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.map_view import MapView
from spann3r_ros.mapping.storage import read_map, write_map
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.prediction import Prediction
from spann3r_ros.ros import outputs
from spann3r_ros.ros.conversions import POINT, transform_message
from spann3r_ros.sim3 import Sim3

CAMERA = Intrinsics(30.0, 30.0, 15.5, 11.5, 32, 24)


def prediction(index: int, submap: int = 0) -> Prediction:
    rows, columns = np.mgrid[:24, :32]
    depth = 2.0 + 0.3 * np.sin(rows / 4 + index) + 0.2 * np.cos(columns / 5)
    turn = Rotation.from_euler("xyz", [0.0, 0.1 * index, 0.05]).as_matrix()
    pose = Sim3.rigid(turn, np.array([0.2 * index, 0.0, 0.1 * index]))
    image = np.zeros((24, 32, 3), np.uint8)
    return Prediction(
        Frame(index, 1000 + index, "camera_optical", image, CAMERA),
        pose.apply(backproject(depth, CAMERA)).astype(np.float32),
        np.full((24, 32), 0.9, np.float32),
        image,
        pose,
        intrinsics=CAMERA,
        submap=submap,
    )


def xyz(message: object) -> np.ndarray:
    packed = np.frombuffer(message.data, POINT)  # type: ignore[attr-defined]
    return np.stack([packed[axis] for axis in "xyz"], axis=1)


@pytest.mark.parametrize(
    "correction",
    [
        Sim3(translation=np.array([0.0, 10.0, 0.0])),
        Sim3.rigid(Rotation.from_euler("z", 90, degrees=True).as_matrix(), np.zeros(3)),
        Sim3(2.0),
    ],
    ids=["translation", "rotation", "scale"],
)
@pytest.mark.parametrize("submap", [0, 1])
def test_cloud_map_path_pose_depth_and_transform_agree(correction: Sim3, submap: int, tmp_path: Path) -> None:
    config = NodeConfig()
    config.map.min_confidence, config.map.voxel_size = 0.5, 1e-3
    config.map.max_slant, config.map.min_observations, config.map.clear_margin = 90.0, 1, 0.0  # all of it stays
    world = Map(config.map)
    for index in range(2):
        world.insert(prediction(index))
    world.insert(prediction(2, submap))
    world.move(submap, correction @ ROS_FROM_OPTICAL)
    later = dataclasses.replace(prediction(3, submap))
    world.insert(later)
    write_map(tmp_path / "map", world)
    for here in (world, read_map(tmp_path / "map", config.map)[0]):
        answer = here.in_world(later)
        (cloud, pose, depth, info) = (
            row.of_frame(answer, config)  # type: ignore[misc]
            for row in (outputs.CLOUD, outputs.POSE, outputs.DEPTH, outputs.DEPTH_INFO)
        )
        view = MapView()
        view.copy(here)
        whole, path = (row.of_map(view, 1003, config) for row in (outputs.MAP, outputs.PATH))  # type: ignore[misc]
        expected = correction @ ROS_FROM_OPTICAL
        np.testing.assert_allclose(xyz(cloud), expected.apply(later.points).reshape(-1, 3), rtol=1e-4, atol=1e-4)
        # The map has these points, and those of the frames before where their submap lies.
        tree = KDTree(xyz(whole))
        assert tree.query(xyz(cloud))[0].max() < 3e-3
        before = expected if submap == 0 else ROS_FROM_OPTICAL
        assert tree.query(before.apply(prediction(0).points).reshape(-1, 3))[0].max() < 3e-3
        # The pose, the path's newest entry and the transform are one.
        wanted = expected.carry(later.submap_from_camera).matrix()
        newest = path.poses[-1].pose
        transform = transform_message(1003, "map", "camera_optical", answer.world_from_camera).transform
        for position, orientation in (
            (pose.pose.position, pose.pose.orientation),
            (newest.position, newest.orientation),
            (transform.translation, transform.rotation),
        ):
            np.testing.assert_allclose(pose_from_message(position, orientation).matrix(), wanted, atol=1e-6)
        assert [entry.header.stamp.nanosec for entry in path.poses] == [1000, 1001, 1002, 1003]
        # The depth image, seen from the pose, is the cloud.
        assert (info.k[0], info.width) == (30.0, 32)
        seen = backproject(np.frombuffer(depth.data, np.float32).reshape(24, 32), CAMERA)
        placed = pose_from_message(pose.pose.position, pose.pose.orientation).apply(seen).reshape(-1, 3)
        np.testing.assert_allclose(placed, xyz(cloud), atol=1e-4)
