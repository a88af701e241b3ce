"""Where cameras were over time: poses as they come, in bounded space, and a whole path as arrays."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError, GeometryError
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

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
        target_from_camera: rigid pose (optical axes) in the frame that the trajectory's owner states.
        final: whether no better one of this frame will come.
    """

    index: int
    stamp: int
    camera: str
    target_from_camera: Sim3
    final: bool = True

    @classmethod
    def of(cls, prediction: Prediction) -> StampedPose:
        """The pose of a prediction that has one, in its submap."""
        if prediction.submap_from_camera is None:
            raise GeometryError("pose of a prediction", got="None", expected="a prediction whose pose is known")
        frame = prediction.frame
        return cls(frame.index, frame.stamp, frame.camera, prediction.submap_from_camera, prediction.final)

    def seen_from(self, target_from_source: Sim3) -> StampedPose:
        """The same camera in another frame; its pose stays rigid, whatever the scale between the frames."""
        return dataclasses.replace(self, target_from_camera=target_from_source.carry(self.target_from_camera))


class Trajectory(Sequence[StampedPose]):
    """Poses in the order in which their frames first came.

    A frame has one pose: a final one replaces an early one, never the other way. When ``max_poses`` is
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
            if pose.final or not self._poses[place].final:
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


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Where a camera was over time, as arrays.

    Attributes:
        stamps: (N,) int64 nanoseconds, strictly increasing.
        positions: (N, 3) float64, camera centers in the world frame.
        rotations: (N, 3, 3) float64, world_from_camera, optical axes of the camera.

    Raises:
        DataError: stamps that do not increase, NaN or infinite poses, or arrays that do not belong together.
    """

    stamps: Indices
    positions: Array
    rotations: Array

    def __post_init__(self) -> None:
        n = len(self.stamps)
        shapes = (self.stamps.shape, self.positions.shape, self.rotations.shape)
        if shapes != ((n,), (n, 3), (n, 3, 3)):
            raise DataError("arrays of a trajectory", got=shapes, expected="(N,), (N, 3), (N, 3, 3)")
        finite = np.isfinite(self.positions).all(1) & np.isfinite(self.rotations).all((1, 2))
        if not finite.all():
            first = int(np.flatnonzero(~finite)[0])
            raise DataError(
                f"{int((~finite).sum())} of {n} poses of a trajectory are not finite, the first one",
                got=f"pose {first} at {self.stamps[first]} ns",
                next_step="Leave out the frames without a pose",
            )
        late = np.flatnonzero(np.diff(self.stamps) <= 0)
        if len(late):
            raise DataError(
                "stamps of a trajectory do not increase",
                got=f"{self.stamps[late[0]]} ns followed by {self.stamps[late[0] + 1]} ns (pose {late[0] + 1})",
                next_step="Sort the poses by stamp and keep one for each",
            )

    @classmethod
    def from_poses(cls, stamps: Sequence[int], poses: Sequence[Sim3]) -> CameraPath:
        """From poses ``world_from_camera``; their scales are ignored."""
        n = len(stamps)
        return cls(
            np.array(stamps, dtype=np.int64).reshape(n),
            np.array([pose.translation for pose in poses], dtype=np.float64).reshape(n, 3),
            np.array([pose.rotation for pose in poses], dtype=np.float64).reshape(n, 3, 3),
        )

    def __len__(self) -> int:
        return len(self.stamps)

    def __getitem__(self, index: Indices | slice) -> CameraPath:
        return CameraPath(self.stamps[index], self.positions[index], self.rotations[index])

    def pose(self, index: int) -> Sim3:
        """``world_from_camera`` of one pose."""
        return Sim3.rigid(self.rotations[index], self.positions[index])

    def at(self, stamp: int, max_gap: int) -> Sim3 | None:
        """``world_from_camera`` nearest to a stamp, or None when it is more than ``max_gap`` nanoseconds away."""
        if len(self) == 0:
            return None
        after = int(np.searchsorted(self.stamps, stamp))
        around = [index for index in (after - 1, after) if 0 <= index < len(self)]
        nearest = min(around, key=lambda index: abs(int(self.stamps[index]) - stamp))
        return self.pose(nearest) if abs(int(self.stamps[nearest]) - stamp) <= max_gap else None

    def path_length(self) -> float:
        """Sum of the distances between consecutive positions."""
        return float(np.linalg.norm(np.diff(self.positions, axis=0), axis=1).sum())

    def transformed(self, target_from_world: Sim3) -> CameraPath:
        """The same path seen from another world frame."""
        return CameraPath(
            self.stamps, target_from_world.apply(self.positions), target_from_world.rotation @ self.rotations
        )
