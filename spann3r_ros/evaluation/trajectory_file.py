"""Trajectories in TUM's text format: a pose a line, ``stamp tx ty tz qx qy qz qw``, stamps in seconds."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from spann3r_ros.errors import DataError, GeometryError
from spann3r_ros.evaluation.trajectory import Trajectory
from spann3r_ros.geometry.axes import rotation_from_quaternion


def parse_stamp(text: str, where: str) -> int:
    """Seconds as text to integer nanoseconds without rounding through a float; raises DataError with ``where``."""
    try:
        return int((Decimal(text) * 10**9).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise DataError(f"stamp in {where}", got=repr(text), expected="seconds") from error


def read_trajectory(path: Path) -> Trajectory:
    """Camera-to-world poses of a TUM file.

    Raises:
        DataError: no such file, a line of another form, NaN, or stamps that do not increase; the line is told.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("trajectory cannot be read", got=str(path), expected="a text file in TUM's format") from error
    stamps: list[int] = []
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        where = f"line {number} of {path}"
        stamp = parse_stamp(words[0], where)
        try:
            row = [float(word) for word in words[1:]]
        except ValueError as error:
            raise DataError(where, got=line, expected="stamp tx ty tz qx qy qz qw") from error
        if len(row) != 7 or not np.isfinite(row).all():
            raise DataError(where, got=line, expected="stamp tx ty tz qx qy qz qw, all finite")
        if stamps and stamp <= stamps[-1]:
            raise DataError(
                f"stamps do not increase at {where}",
                got=words[0],
                expected=f"more than {stamps[-1] / 1e9:.9f}",
                next_step="Sort the file by its first column and keep one line for each stamp",
            )
        stamps.append(stamp)
        rows.append(row)
    if not rows:
        raise DataError(f"no poses in {path}", expected="lines 'stamp tx ty tz qx qy qz qw'")
    poses = np.array(rows)
    try:
        rotations = rotation_from_quaternion(poses[:, 3:])
    except GeometryError as error:
        raise DataError(f"quaternion in {path}", got=error.got, expected="norm 1") from error
    return Trajectory(np.array(stamps, dtype=np.int64), poses[:, :3], rotations)
