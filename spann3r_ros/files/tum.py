"""Trajectories as text: written in TUM's format (``stamp tx ty tz qx qy qz qw``), read in the forms of other tools."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError, GeometryError
from spann3r_ros.files.atomic import replacing_file
from spann3r_ros.files.pose_table import KITTI_COLUMNS, PoseTable, nanoseconds_per_unit, read_table
from spann3r_ros.geometry.axes import quaternion_from_rotation, rotation_from_quaternion
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath, StampedPose, Trajectory

HEADER = """\
# stamp[s] tx ty tz qx qy qz qw
# Camera-to-world: the pose of the camera's optical axes (x right, y down, z forward) in the world frame
# (x forward, y left, z up).
"""
EXPECTED = "stamp tx ty tz qx qy qz qw"
SMALLEST_NORM, LARGEST = 1e-6, 1e9
"""Of quaternions, and of numbers at all: what lies beyond is no pose."""

_log = logging.getLogger(__name__)


def write_trajectory(path: Path, trajectory: Iterable[StampedPose]) -> None:
    """Write poses with stamps exact to the nanosecond and translations exact to the bit; the file appears complete."""
    with replacing_file(path) as draft, draft.open("w") as file:
        file.write(HEADER)
        for pose in trajectory:
            quaternion = quaternion_from_rotation(pose.target_from_camera.rotation)
            numbers = (*pose.target_from_camera.translation.tolist(), *quaternion.tolist())
            file.write(f"{stamp_text(pose.stamp)} {' '.join(map(repr, numbers))}\n")


def read_trajectory(path: Path, gaps: bool = False) -> Trajectory:
    """Read poses in the order of the lines, numbered from 0; the camera's name, which no line holds, is empty.

    Numbers may be separated by spaces, tabs, commas or semicolons, a header may name the columns (quaternions with w
    first are known by it, or by the columns of EuRoC), and stamps may be seconds, milliseconds, microseconds or
    nanoseconds: their size tells. KITTI's lines of twelve numbers need their stamps in ``times.txt`` beside the file.

    Args:
        path: of the file.
        gaps: whether lines of NaN or with a quaternion of zeros, which tools write for frames that were lost, are left
            out, and how many is logged; else they are refused.

    Raises:
        DataError: no such file, or a line of another form; the line and the fix are told.
    """
    table = read_table(path)
    stamps = _stamps(table, path)
    poses: list[StampedPose] = []
    lost = 0
    for row, stamp in zip(table.rows, stamps, strict=True):
        try:
            numbers = np.array([float(word) for word in row.pose])
            if gaps and _is_lost(numbers):
                lost += 1
                continue
            pose = _kitti_pose(numbers) if table.is_kitti else _pose(numbers)
        except (ValueError, GeometryError) as error:
            raise DataError(
                f"line {row.number} of {path} ({error})", got=repr(" ".join(row.pose)[:120]), expected=EXPECTED
            ) from error
        poses.append(StampedPose(len(poses), stamp, "", pose))
    if lost:
        _log.warning("%s: %d of %d lines hold no pose (NaN or zeros): frames that were lost", path, lost, len(stamps))
    return Trajectory(poses, max(1, len(poses)))


def read_camera_path(path: Path) -> CameraPath:
    """Camera-to-world poses of a file as arrays, without gaps; of several lines with one stamp the first.

    What is left out is logged.

    Raises:
        DataError: no such file, no poses, a line of another form, or stamps that decrease.
    """
    poses = read_trajectory(path, gaps=True)
    if len(poses) == 0:
        raise DataError(f"no poses in {path}, from line 1 to the last", expected=f"lines '{EXPECTED}'")
    repeated = [after.stamp == before.stamp for before, after in itertools.pairwise(poses)]
    unique = [pose for pose, again in zip(poses, [False, *repeated], strict=True) if not again]
    if len(unique) < len(poses):
        _log.warning("%s: %d lines repeat the stamp of the line before and are ignored", path, len(poses) - len(unique))
    return CameraPath.from_poses([pose.stamp for pose in unique], [pose.target_from_camera for pose in unique])


def stamp_text(stamp: int) -> str:
    """Integer nanoseconds as decimal seconds, exactly."""
    sign, seconds, nanoseconds = "-" if stamp < 0 else "", *divmod(abs(stamp), 10**9)
    return f"{sign}{seconds}.{nanoseconds:09d}"


def stamp_from_text(text: str, unit: int = 10**9) -> int:
    """A decimal number as integer nanoseconds, without the rounding of a float; raises ValueError for other text.

    Args:
        text: the number.
        unit: nanoseconds of one; by default the number is in seconds.
    """
    try:
        number = Decimal(text)
        if not number.is_finite() or abs(number) * unit >= 2**63:
            raise ValueError(f"stamp {text[:40]!r}")
        return int((number * unit).to_integral_value())
    except ArithmeticError as error:  # of decimal: no number, or one of a million digits
        raise ValueError(f"stamp {text[:40]!r}") from error


def _stamps(table: PoseTable, path: Path) -> list[int]:
    """Nanoseconds of every row; raises DataError that names the line."""
    unit = table.unit
    try:
        seconds = [float(row.stamp) for row in table.rows]
    except ValueError:
        seconds = []  # the loop below names the line
    if seconds and unit is None:
        unit = nanoseconds_per_unit(seconds, all("." not in row.stamp for row in table.rows))
    unit = unit or 10**9
    if unit != 10**9:
        names = {10**6: "milliseconds", 10**3: "microseconds", 1: "nanoseconds"}
        _log.warning("%s: stamps are %s, by %s", path, names[unit], "its header" if table.unit else "their size")
    stamps = []
    for row in table.rows:
        try:
            stamps.append(stamp_from_text(row.stamp, unit))
        except ValueError as error:
            raise DataError(
                f"line {row.number} of {path} ({error})", got=repr(row.stamp[:40]), expected=EXPECTED
            ) from error
    return stamps


def _is_lost(numbers: NDArray[np.float64]) -> bool:
    """Whether a tool wrote that it has no pose."""
    if np.isnan(numbers).any():
        return True
    rotation = numbers[3:] if len(numbers) == 7 else numbers.reshape(3, 4)[:, :3].ravel()
    return not rotation.any()


def _pose(numbers: NDArray[np.float64]) -> Sim3:
    """Of position and quaternion, of whatever norm; raises ValueError or GeometryError."""
    if not (np.abs(numbers) < LARGEST).all():
        raise ValueError("a number that is no length and no quaternion")
    if np.linalg.norm(numbers[3:]) < SMALLEST_NORM:
        raise ValueError("a quaternion of length 0")
    return Sim3.rigid(rotation_from_quaternion(numbers[3:] / np.linalg.norm(numbers[3:])), numbers[:3])


def _kitti_pose(numbers: NDArray[np.float64]) -> Sim3:
    """Of the upper three rows of a matrix; raises ValueError."""
    matrix = numbers.reshape(3, KITTI_COLUMNS // 3)
    if not (np.abs(matrix) < LARGEST).all():
        raise ValueError("a number that is no length")
    left, sizes, right = np.linalg.svd(matrix[:, :3])
    if not (sizes > 0.9).all() or not (sizes < 1.1).all() or np.linalg.det(left @ right) < 0:
        raise ValueError("a matrix that is no rotation")
    return Sim3.rigid(left @ right, matrix[:, 3])
