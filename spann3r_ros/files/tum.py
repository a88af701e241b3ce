"""Trajectories as text in TUM's format: a pose a line, ``stamp tx ty tz qx qy qz qw``."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from spann3r_ros.errors import DataError, GeometryError
from spann3r_ros.files.atomic import replacing_file
from spann3r_ros.geometry.axes import quaternion_from_rotation, rotation_from_quaternion
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath, StampedPose, Trajectory

HEADER = """\
# stamp[s] tx ty tz qx qy qz qw
# Camera-to-world: the pose of the camera's optical axes (x right, y down, z forward) in the world frame
# (x forward, y left, z up).
"""


def write_trajectory(path: Path, trajectory: Iterable[StampedPose]) -> None:
    """Write poses with stamps exact to the nanosecond and translations exact to the bit; the file appears complete."""
    with replacing_file(path) as draft, draft.open("w") as file:
        file.write(HEADER)
        for pose in trajectory:
            quaternion = quaternion_from_rotation(pose.target_from_camera.rotation)
            numbers = (*pose.target_from_camera.translation.tolist(), *quaternion.tolist())
            file.write(f"{stamp_text(pose.stamp)} {' '.join(map(repr, numbers))}\n")


def read_trajectory(path: Path) -> Trajectory:
    """Read poses in the order of the lines, numbered from 0; the camera's name, which no line holds, is empty.

    Raises:
        DataError: no such file, or a line of another form; the line is told.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"trajectory {path} cannot be read", expected="a text file in TUM's format") from error
    poses: list[StampedPose] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            stamp = stamp_from_text(words[0])
            numbers = np.array([float(word) for word in words[1:]])
            if numbers.shape != (7,):
                raise ValueError(f"{len(words)} columns")
            pose = Sim3.rigid(rotation_from_quaternion(numbers[3:]), numbers[:3])
        except (ValueError, GeometryError) as error:
            raise DataError(
                f"line {number} of {path} ({error})", got=repr(line[:120]), expected="stamp tx ty tz qx qy qz qw"
            ) from error
        poses.append(StampedPose(len(poses), stamp, "", pose))
    return Trajectory(poses, max(1, len(poses)))


def read_camera_path(path: Path) -> CameraPath:
    """Camera-to-world poses of a file as arrays.

    Raises:
        DataError: no such file, no poses, a line of another form, NaN, or stamps that do not increase.
    """
    poses = read_trajectory(path)
    if len(poses) == 0:
        raise DataError(f"no poses in {path}", expected="lines 'stamp tx ty tz qx qy qz qw'")
    return CameraPath.from_poses([pose.stamp for pose in poses], [pose.target_from_camera for pose in poses])


def stamp_text(stamp: int) -> str:
    """Integer nanoseconds as decimal seconds, exactly."""
    sign, seconds, nanoseconds = "-" if stamp < 0 else "", *divmod(abs(stamp), 10**9)
    return f"{sign}{seconds}.{nanoseconds:09d}"


def stamp_from_text(text: str) -> int:
    """Decimal seconds as integer nanoseconds, without the rounding of a float; raises ValueError for other text."""
    try:
        seconds = Decimal(text)
        if not seconds.is_finite() or abs(seconds) > 10**12:
            raise ValueError(f"stamp {text!r}")
        return int((seconds * 10**9).to_integral_value())
    except InvalidOperation as error:
        raise ValueError(f"stamp {text!r}") from error
