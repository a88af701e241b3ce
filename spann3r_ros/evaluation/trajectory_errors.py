"""How far an estimated camera path is from the true one: ATE and RPE.

Definitions are those of Sturm et al., "A Benchmark for the Evaluation of RGB-D SLAM Systems" (IROS 2012); association,
pairs and angles follow the conventions of the tool ``evo``, so that the numbers can be compared with its.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath, Indices

Array = NDArray[np.float64]


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
        """None when there are no errors to summarize."""
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
        rpe_meter_translation, rpe_meter_rotation: drift over one unit of path; None when the path is shorter.
    """

    reference_from_estimate: Sim3
    reference: CameraPath
    estimate: CameraPath
    position_errors: Array
    ate: ErrorStatistics
    rpe_frame_translation: ErrorStatistics | None
    rpe_frame_rotation: ErrorStatistics | None
    rpe_meter_translation: ErrorStatistics | None
    rpe_meter_rotation: ErrorStatistics | None

    def ate_over(self, path_length: float | None) -> float | None:
        """RMSE of the positions over a length of path; None for a path of no length."""
        return self.ate.rmse / path_length if path_length else None


def associate(reference: CameraPath, estimate: CameraPath, max_gap: int) -> tuple[Indices, Indices]:
    """Indices of pairs that are nearest in time, at most ``max_gap`` nanoseconds apart.

    Each pose of the shorter trajectory looks for the nearest of the longer one (the estimate counts as the shorter one
    when both are equally long); of two equally near the earlier wins.

    Raises:
        DataError: no pair at all; the error names the time spans of both.
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
    meter: float = 1.0,
) -> TrajectoryErrors:
    """ATE and RPE after alignment by Umeyama's method (Sim(3) when ``with_scale``, else SE(3)).

    Args:
        estimate, reference: world_from_camera, each in its own world.
        with_scale: whether the estimate may also be scaled.
        max_gap: nanoseconds between associated stamps.
        meter: length of path over which the drift of ``rpe_meter_*`` is taken, in the reference's unit. Paths are
            measured along the reference (evo: ``--pairs_from_reference``).

    Raises:
        DataError: no overlap in time, or fewer than three pairs.
        GeometryError: positions that fix no alignment (all on one line).
    """
    in_reference, in_estimate = associate(reference, estimate, max_gap)
    if len(in_reference) < 3:
        raise DataError("too few poses to align", got=f"{len(in_reference)} associated in time", expected="at least 3")
    # Two poses may share their nearest neighbor, so the pairs are indexed as arrays, not made trajectories of.
    truth = _Poses(reference.positions[in_reference], reference.rotations[in_reference])
    guess = _Poses(estimate.positions[in_estimate], estimate.rotations[in_estimate])
    alignment = umeyama(guess.positions, truth.positions, with_scale=with_scale)
    guess = _Poses(alignment.apply(guess.positions), alignment.rotation @ guess.rotations)
    errors = np.linalg.norm(guess.positions - truth.positions, axis=1)
    ate = ErrorStatistics.of(errors)
    assert ate is not None
    steps = np.arange(len(errors))
    frame = _relative_errors(truth, guess, steps[:-1], steps[1:])
    meters = path_marks(truth.positions, meter)
    drift = _relative_errors(truth, guess, meters[:-1], meters[1:])
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
    marks, traveled = [0], 0.0
    for index, step in enumerate(steps, start=1):
        traveled += step
        if traveled >= distance:
            marks.append(index)
            traveled = 0.0
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
