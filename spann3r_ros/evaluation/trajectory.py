"""How far an estimated camera path is from the true one: ATE and RPE.

Definitions are those of Sturm et al., "A Benchmark for the Evaluation of RGB-D SLAM Systems" (IROS 2012); association,
pairs and angles follow the conventions of the tool ``evo``, so that the numbers can be compared with its.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.mapping.tum import read_trajectory
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Where a camera was over time, as arrays.

    Attributes:
        stamps: (N,) int64 nanoseconds, strictly increasing.
        positions: (N, 3) float64, camera centres in the world frame.
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

    @classmethod
    def read(cls, path: Path) -> CameraPath:
        """Camera-to-world poses of a file in TUM's format.

        Raises:
            DataError: no such file, no poses, a line of another form, NaN, or stamps that do not increase.
        """
        poses = read_trajectory(path)
        if len(poses) == 0:
            raise DataError(f"no poses in {path}", expected="lines 'stamp tx ty tz qx qy qz qw'")
        return cls.from_poses([pose.stamp for pose in poses], [pose.world_from_camera for pose in poses])

    def __len__(self) -> int:
        return len(self.stamps)

    def __getitem__(self, index: Indices | slice) -> CameraPath:
        return CameraPath(self.stamps[index], self.positions[index], self.rotations[index])

    def pose(self, index: int) -> Sim3:
        """``world_from_camera`` of one pose."""
        return Sim3(1.0, self.rotations[index], self.positions[index])

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


@dataclass(frozen=True)
class ErrorStatistics:
    """Summary of ``count`` errors; the unit is that of the errors."""

    rmse: float
    mean: float
    median: float
    maximum: float
    count: int

    @classmethod
    def of(cls, errors: Array) -> ErrorStatistics | None:
        """None when there are no errors to summarise."""
        if len(errors) == 0:
            return None
        rmse = float(np.sqrt(np.mean(np.square(errors))))
        return cls(rmse, float(errors.mean()), float(np.median(errors)), float(errors.max()), len(errors))


@dataclass(frozen=True, eq=False)
class TrajectoryErrors:
    """Errors of an estimate after alignment to the reference; lengths in the reference's unit.

    Attributes:
        reference_from_estimate: the alignment (scale 1 when aligned rigidly).
        reference, estimate: the associated poses; the estimate is aligned.
        position_errors: (M,) distance of each associated pair of positions.
        ate: of ``position_errors``.
        rpe_frame_translation, rpe_frame_rotation: drift from one associated pose to the next; rotation in degrees.
        rpe_metre_translation, rpe_metre_rotation: drift over one unit of path; None when the path is shorter.
    """

    reference_from_estimate: Sim3
    reference: CameraPath
    estimate: CameraPath
    position_errors: Array
    ate: ErrorStatistics
    rpe_frame_translation: ErrorStatistics | None
    rpe_frame_rotation: ErrorStatistics | None
    rpe_metre_translation: ErrorStatistics | None
    rpe_metre_rotation: ErrorStatistics | None


def associate(reference: CameraPath, estimate: CameraPath, max_gap: int) -> tuple[Indices, Indices]:
    """Indices of pairs that are nearest in time, at most ``max_gap`` nanoseconds apart.

    Each pose of the shorter trajectory looks for the nearest of the longer one (the estimate counts as the shorter one
    when both are equally long); of two equally near the earlier wins.

    Raises:
        DataError: no pair at all; the time spans of both are told.
    """
    if len(reference) == 0 or len(estimate) == 0:
        empty = "reference" if len(reference) == 0 else "estimate"
        raise DataError(f"no poses in the {empty}", next_step="Nothing can be compared")
    shorter, longer = reference.stamps, estimate.stamps
    if len(estimate) <= len(reference):
        shorter, longer = longer, shorter
    after = np.clip(np.searchsorted(longer, shorter), 1, max(len(longer) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(longer) - 1)
    nearest = np.where(np.abs(shorter - longer[before]) <= np.abs(longer[after] - shorter), before, after)
    matched = np.flatnonzero(np.abs(longer[nearest] - shorter) <= max_gap)
    if len(matched) == 0:
        raise DataError(
            "reference and estimate share no time",
            got=f"reference {_span(reference)}, estimate {_span(estimate)}",
            expected=f"stamps at most {max_gap / 1e9:g} s apart",
            next_step="Check that both belong to the same recording, or raise the largest gap",
        )
    pair = (matched, nearest[matched])
    return pair if shorter is reference.stamps else (pair[1], pair[0])


def evaluate_trajectory(
    estimate: CameraPath,
    reference: CameraPath,
    *,
    with_scale: bool,
    max_gap: int = 10_000_000,
    metre: float = 1.0,
) -> TrajectoryErrors:
    """ATE and RPE after alignment by Umeyama's method (Sim(3) when ``with_scale``, else SE(3)).

    Args:
        estimate, reference: world_from_camera, each in its own world.
        with_scale: whether the estimate may also be scaled.
        max_gap: nanoseconds between associated stamps.
        metre: length of path over which the drift of ``rpe_metre_*`` is taken, in the reference's unit. Paths are
            measured along the reference (evo: ``--pairs_from_reference``).

    Raises:
        DataError: no overlap in time, or fewer than three pairs.
        GeometryError: positions that fix no alignment (all on one line).
    """
    in_reference, in_estimate = associate(reference, estimate, max_gap)
    if len(in_reference) < 3:
        raise DataError("too few poses to align", got=f"{len(in_reference)} associated in time", expected="at least 3")
    # Two poses may share their nearest neighbour, so the pairs are indexed as arrays, not made trajectories of.
    truth = _Poses(reference.positions[in_reference], reference.rotations[in_reference])
    guess = _Poses(estimate.positions[in_estimate], estimate.rotations[in_estimate])
    alignment = umeyama(guess.positions, truth.positions, with_scale=with_scale)
    guess = _Poses(alignment.apply(guess.positions), alignment.rotation @ guess.rotations)
    errors = np.linalg.norm(guess.positions - truth.positions, axis=1)
    ate = ErrorStatistics.of(errors)
    assert ate is not None
    steps = np.arange(len(errors))
    frame = _relative_errors(truth, guess, steps[:-1], steps[1:])
    metres = path_marks(truth.positions, metre)
    drift = _relative_errors(truth, guess, metres[:-1], metres[1:])
    unique = np.unique(in_estimate, return_index=True)[1]
    return TrajectoryErrors(
        alignment,
        CameraPath(estimate.stamps[in_estimate][unique], truth.positions[unique], truth.rotations[unique]),
        CameraPath(estimate.stamps[in_estimate][unique], guess.positions[unique], guess.rotations[unique]),
        errors[unique],
        ate,
        *(ErrorStatistics.of(part) for part in (*frame, *drift)),
    )


def path_marks(positions: Array, distance: float) -> Indices:
    """Indices of poses that lie at least ``distance`` of path (N, 3) apart, beginning with the first."""
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    marks, travelled = [0], 0.0
    for index, step in enumerate(steps, start=1):
        travelled += step
        if travelled >= distance:
            marks.append(index)
            travelled = 0.0
    return np.array(marks, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Poses:
    """(M, 3) positions and (M, 3, 3) rotations of associated poses."""

    positions: Array
    rotations: Array

    def relative(self, first: Indices, second: Indices) -> _Poses:
        """``first_from_second`` of each pair."""
        back = self.rotations[first].transpose(0, 2, 1)
        moved = self.positions[second] - self.positions[first]
        return _Poses(np.einsum("nij,nj->ni", back, moved), back @ self.rotations[second])


def _relative_errors(truth: _Poses, guess: _Poses, first: Indices, second: Indices) -> tuple[Array, Array]:
    """Length and angle (degrees) of (true motion)^-1 (estimated motion) of each pair of poses."""
    true, estimated = truth.relative(first, second), guess.relative(first, second)
    rotation = true.rotations.transpose(0, 2, 1) @ estimated.rotations
    skew = rotation - rotation.transpose(0, 2, 1)
    sine = np.sqrt(np.square(skew).sum((1, 2)) / 8.0)
    cosine = (np.trace(rotation, axis1=1, axis2=2) - 1.0) / 2.0
    lengths = np.linalg.norm(estimated.positions - true.positions, axis=1)
    return lengths, np.degrees(np.arctan2(sine, cosine))


def _span(trajectory: CameraPath) -> str:
    """First and last stamp, in seconds."""
    return f"{trajectory.stamps[0] / 1e9:.3f} .. {trajectory.stamps[-1] / 1e9:.3f} s ({len(trajectory)} poses)"
