"""Where the cameras were: one pose per frame, in bounded space."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

from spann3r_ros.errors import GeometryError
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

logger = logging.getLogger(__name__)

MAX_POSES = 100_000
"""Three hours at ten frames a second."""


@dataclass(frozen=True, eq=False)
class StampedPose:
    """The pose of the camera that took one frame.

    Attributes:
        index: the frame's running number.
        stamp: time of the image in integer nanoseconds.
        camera: name of the camera's optical frame.
        world_from_camera: rigid pose (optical axes).
        refined: whether it comes from the final pointmap of the frame.
    """

    index: int
    stamp: int
    camera: str
    world_from_camera: Sim3
    refined: bool = True

    @classmethod
    def of(cls, prediction: Prediction) -> StampedPose:
        """The pose of a prediction that has one."""
        if prediction.world_from_camera is None:
            raise GeometryError("pose of a prediction", got="None", expected="a prediction whose pose is known")
        frame = prediction.frame
        return cls(frame.index, frame.stamp, frame.camera, prediction.world_from_camera, prediction.refined)


class Trajectory(Sequence[StampedPose]):
    """Poses in the order in which their frames first came.

    A frame has one pose: a refined one replaces the immediate one, never the other way. When ``max_poses`` is
    reached, the oldest tenth is dropped.

    Raises:
        GeometryError: ``max_poses`` below 1.
    """

    def __init__(self, poses: Iterable[StampedPose] = (), max_poses: int = MAX_POSES) -> None:
        if max_poses < 1:
            raise GeometryError("max_poses of a trajectory", got=max_poses, expected=">= 1")
        self.max_poses = max_poses
        self._poses: list[StampedPose] = []
        # The stamp belongs to the key because indices begin anew when a saved map is continued.
        self._places: dict[tuple[int, int], int] = {}
        for pose in poses:
            self.insert(pose)

    def insert(self, pose: StampedPose) -> None:
        """Add the pose of a frame, or replace the one it has when that is not better."""
        place = self._places.get((pose.index, pose.stamp))
        if place is not None:
            if pose.refined or not self._poses[place].refined:
                self._poses[place] = pose
            return
        if len(self._poses) >= self.max_poses:
            self._drop_oldest()
        self._places[pose.index, pose.stamp] = len(self._poses)
        self._poses.append(pose)

    def clear(self) -> None:
        """Forget all poses."""
        self._poses.clear()
        self._places.clear()

    def __len__(self) -> int:
        return len(self._poses)

    @overload
    def __getitem__(self, index: int) -> StampedPose: ...
    @overload
    def __getitem__(self, index: slice) -> list[StampedPose]: ...
    def __getitem__(self, index: int | slice) -> StampedPose | list[StampedPose]:
        return self._poses[index]

    def _drop_oldest(self) -> None:
        dropped = -(-self.max_poses // 10)
        del self._poses[:dropped]
        self._places = {(pose.index, pose.stamp): place for place, pose in enumerate(self._poses)}
        logger.warning("trajectory full at %d poses: the oldest %d dropped", self.max_poses, dropped)
