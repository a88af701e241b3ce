"""Where cameras were over time: poses as they come, in bounded space, and a whole path as arrays."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError, GeometryError
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Rows = NDArray[np.void]

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


ROW = np.dtype(
    [
        ("index", np.int64),
        ("stamp", np.int64),
        ("camera", np.int32),
        ("final", np.bool_),
        ("rotation", np.float64, (3, 3)),
        ("translation", np.float64, (3,)),
    ],
    align=True,
)
"""A pose as a trajectory holds it: a tenth of the memory of the object. The camera is a number of its name."""

BEFORE_ALL = -(2**63)
"""No stamp is below."""


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
        self._cameras: dict[str, int] = {}
        self._rows: Rows = np.zeros(0, ROW)
        self._count, self._newest = 0, BEFORE_ALL
        for pose in poses:
            self.insert(pose)

    @classmethod
    def joined(cls, parts: Iterable[Trajectory], max_poses: int = MAX_POSES) -> Trajectory:
        """As if the poses of all parts were inserted one by one, in a fraction of the time; the newest are kept."""
        found = cls(max_poses=max_poses)
        columns = [found._renumbered(part) for part in parts]
        rows = np.concatenate([np.zeros(0, ROW), *columns])
        found._keep(_one_each(rows)[-max_poses:])
        return found

    @classmethod
    def of_columns(
        cls,
        indices: NDArray[Any],
        stamps: NDArray[Any],
        cameras: NDArray[Any],
        final: NDArray[Any],
        rotations: NDArray[Any],
        translations: NDArray[Any],
    ) -> Trajectory:
        """From what ``columns`` gives.

        Raises:
            ValueError: columns of other types or lengths.
            GeometryError: numbers that are no rigid poses.
        """
        kinds = "".join(column.dtype.kind for column in (indices, stamps, cameras, final, rotations, translations))
        if kinds != "iiUbff" and len(indices):
            raise ValueError(f"columns of poses of the types {kinds}")
        found = cls()
        names, codes = np.unique(cameras, return_inverse=True)
        found._cameras = {str(name): code for code, name in enumerate(names)}
        rows = np.zeros(len(indices), ROW)
        columns = (indices, stamps, codes.reshape(-1), final, rotations, translations)
        for name, column in zip(ROW.names or (), columns, strict=True):
            if column.shape != rows[name].shape:
                raise ValueError(f"'{name}' of {len(rows)} poses has the shape {column.shape}")
            rows[name] = column
        _require_rigid(rows)
        found._keep(_one_each(rows)[-found.max_poses :])
        return found

    def columns(self) -> tuple[Indices, Indices, NDArray[np.str_], NDArray[np.bool_], Array, Array]:
        """Indices, stamps, cameras (names), final, rotations (N, 3, 3) and translations (N, 3); copies."""
        rows = self._rows[: self._count].copy()
        names = np.array(list(self._cameras) or [""], np.str_)
        cameras = names[rows["camera"]]
        return rows["index"], rows["stamp"], cameras, rows["final"], rows["rotation"], rows["translation"]

    def copied(self) -> Trajectory:
        """The same poses, which do not change when these do."""
        copy = Trajectory(max_poses=self.max_poses)
        copy._cameras = dict(self._cameras)
        copy._keep(self._rows[: self._count].copy())
        return copy

    def seen_from(self, target_from_source: Sim3) -> Trajectory:
        """The same cameras in another frame; their poses stay rigid, whatever the scale between the frames."""
        moved = self.copied()
        rotation, rows = target_from_source.rotation, moved._rows
        # Pose by pose the same operations for one and for thousands: what is moved later is equal bit for bit.
        rows["rotation"] = rotation @ rows["rotation"]
        turned = (rotation @ rows["translation"][..., None])[..., 0]
        rows["translation"] = target_from_source.scale * turned + target_from_source.translation
        return moved

    def insert(self, pose: StampedPose) -> None:
        """Add the pose of a frame, or replace the one it has when that is not better."""
        place = self._place_of(pose)
        if place is not None:
            if pose.final or not self._rows[place]["final"]:
                self._rows[place] = self._row(pose)
            return
        if self._count >= self.max_poses:
            self._drop_oldest()
        if self._count == len(self._rows):
            grown = np.zeros(min(self.max_poses, 2 * self._count + 64), ROW)
            grown[: self._count] = self._rows
            self._rows = grown
        self._rows[self._count] = self._row(pose)
        self._count += 1
        self._newest = max(self._newest, pose.stamp)

    def clear(self) -> None:
        """Forget all poses."""
        self._keep(np.zeros(0, ROW))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> StampedPose: ...
    @overload
    def __getitem__(self, index: slice) -> list[StampedPose]: ...
    def __getitem__(self, index: int | slice) -> StampedPose | list[StampedPose]:
        rows, names = self._rows[: self._count], list(self._cameras)
        if isinstance(index, slice):
            return [_pose(row, names) for row in rows[index]]
        return _pose(rows[index], names)

    def __iter__(self) -> Iterator[StampedPose]:
        return iter(self[:])

    def _place_of(self, pose: StampedPose) -> int | None:
        """Where a frame's pose is; the stamp belongs to it because indices begin anew when a map is continued."""
        if pose.stamp > self._newest:
            return None  # as a rule, without a search
        rows = self._rows[: self._count]
        found = np.flatnonzero((rows["stamp"] == pose.stamp) & (rows["index"] == pose.index))
        return int(found[0]) if len(found) else None

    def _row(self, pose: StampedPose) -> Rows:
        row = np.zeros((), ROW)
        camera = self._cameras.setdefault(pose.camera, len(self._cameras))
        place = pose.target_from_camera
        row[()] = (pose.index, pose.stamp, camera, pose.final, place.rotation, place.translation)
        return row

    def _renumbered(self, other: Trajectory) -> Rows:
        """The rows of another trajectory with the numbers that the names of its cameras have here."""
        rows = other._rows[: other._count].copy()
        codes = [self._cameras.setdefault(name, len(self._cameras)) for name in other._cameras]
        if codes:
            rows["camera"] = np.array(codes, np.int32)[rows["camera"]]
        return np.asarray(rows)

    def _keep(self, rows: Rows) -> None:
        """These rows are all."""
        self._rows, self._count = rows, len(rows)
        self._newest = int(rows["stamp"].max()) if len(rows) else BEFORE_ALL

    def _drop_oldest(self) -> None:
        dropped = -(-self.max_poses // 10)
        self._keep(self._rows[dropped : self._count].copy())
        logger.warning("trajectory full at %d poses: the oldest %d dropped", self.max_poses, dropped)


def _pose(row: Rows, names: Sequence[str]) -> StampedPose:
    place = Sim3.rigid(row["rotation"].copy(), row["translation"].copy())
    return StampedPose(int(row["index"]), int(row["stamp"]), names[int(row["camera"])], place, bool(row["final"]))


def _one_each(rows: Rows) -> Rows:
    """One row a frame, where its first one was: its last final one, or its last one."""
    order = np.lexsort((np.arange(len(rows)), rows["index"], rows["stamp"]))
    ordered = rows[order]
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = (ordered["index"][1:] != ordered["index"][:-1]) | (ordered["stamp"][1:] != ordered["stamp"][:-1])
    if begins.all():
        return rows
    frame = np.cumsum(begins) - 1
    rank = np.arange(len(rows)) + len(rows) * ordered["final"]  # a final row is better than any that is not
    best = np.zeros(int(frame[-1]) + 1, np.int64)
    np.maximum.at(best, frame, rank)
    first = order[begins]
    return np.asarray(ordered[best % len(rows)][np.argsort(first)])


def _require_rigid(rows: Rows) -> None:
    """Raise GeometryError for the first row that is no rigid pose."""
    rotations, translations = rows["rotation"], rows["translation"]
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2), initial=0.0)
        good = (errors < 1e-6) & (np.linalg.det(rotations) > 0) & np.isfinite(translations).all(axis=1)
    for row in rows[~good][:1]:
        _pose(row, [""] * (int(row["camera"]) + 1))


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
