"""The world as reconstructed so far: submaps, each with its points and camera poses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from spann3r_ros.config import MapConfig
from spann3r_ros.mapping.filters import cloud_from_prediction
from spann3r_ros.mapping.voxel_grid import VoxelGrid, VoxelUpdate
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import StampedPose, Trajectory


@dataclass(eq=False)
class Submap:
    """A part of the world that is rigid in itself; a correction moves it as a whole.

    Attributes:
        id: its number in the map.
        world_from_submap: where it lies, and its scale.
        cloud: its points, in its own frame.
        poses: of the cameras that saw it; their ``world`` is the submap's frame.
    """

    id: int
    world_from_submap: Sim3
    cloud: VoxelGrid
    poses: Trajectory


class Map:
    """All submaps; one for now. Not thread-safe: it belongs to whoever runs the reconstruction.

    Args:
        config: sizes and thresholds. The live ones are read at every insertion, so changing them in place is enough.

    Attributes:
        submaps: the parts of the world.
        revision: grows with every change, so that a reader knows whether its copy is stale.
    """

    def __init__(self, config: MapConfig) -> None:
        self.config = config
        grid = VoxelGrid(config.voxel_size, config.max_points)
        self.submaps = [Submap(0, Sim3(), grid, Trajectory())]
        self.revision = 0

    def __len__(self) -> int:
        """Points in all submaps."""
        return sum(len(submap.cloud) for submap in self.submaps)

    def insert(self, prediction: Prediction) -> VoxelUpdate:
        """Take up what a model says about one frame: its usable points and, when known, its pose.

        A frame that is answered twice (immediate and refined) should be inserted once; use ``insert_pose`` for the
        other answer.

        Raises:
            GeometryError: the voxel size was set too small for the extent of the map; nothing has changed then.
        """
        submap = self.submaps[-1]
        if submap.cloud.voxel_size != self.config.voxel_size:
            submap.cloud.resize(self.config.voxel_size)
        self.insert_pose(prediction)
        cloud = cloud_from_prediction(prediction, self.config.min_confidence, self.config.max_range)
        if not _is_identity(submap.world_from_submap):
            cloud = cloud.transformed(submap.world_from_submap.inverse())
        self.revision += 1
        return submap.cloud.insert(cloud)

    def insert_pose(self, prediction: Prediction) -> None:
        """Take up the pose alone, when it is known."""
        if prediction.world_from_camera is not None:
            submap = self.submaps[-1]
            pose = StampedPose.of(prediction)
            submap.poses.insert(_moved(pose, submap.world_from_submap.inverse()))
            self.revision += 1

    def cloud(self) -> PointCloud:
        """All points in the world frame; reads the whole map."""
        clouds = []
        for submap in self.submaps:
            cloud = submap.cloud.cloud()
            identity = _is_identity(submap.world_from_submap)
            clouds.append(cloud if identity else cloud.transformed(submap.world_from_submap))
        if len(clouds) == 1:
            return clouds[0]
        return PointCloud(
            np.concatenate([cloud.points for cloud in clouds]),
            np.concatenate([cloud.colors for cloud in clouds]),
            np.concatenate([cloud.confidence for cloud in clouds]),
        )

    def trajectory(self) -> Trajectory:
        """All poses in the world frame, in the order of the submaps. Not to be changed."""
        if len(self.submaps) == 1 and _is_identity(self.submaps[0].world_from_submap):
            return self.submaps[0].poses
        return Trajectory(
            (_moved(pose, submap.world_from_submap) for submap in self.submaps for pose in submap.poses),
            sum(submap.poses.max_poses for submap in self.submaps),
        )

    def clear(self) -> None:
        """Begin a new world. The revision goes on growing."""
        del self.submaps[1:]
        submap = self.submaps[0]
        submap.world_from_submap = Sim3()
        submap.cloud.clear()
        submap.poses.clear()
        self.revision += 1


def _is_identity(pose: Sim3) -> bool:
    return pose.scale == 1.0 and not pose.translation.any() and bool((pose.rotation == np.eye(3)).all())


def _moved(pose: StampedPose, target_from_world: Sim3) -> StampedPose:
    """The pose in another world; a camera pose stays rigid, whatever the scale between the worlds."""
    if _is_identity(target_from_world):
        return pose
    moved = target_from_world @ pose.world_from_camera
    return dataclasses.replace(pose, world_from_camera=Sim3(1.0, moved.rotation, moved.translation))
