"""EuRoC MAV (Burri et al., 2016), ASL layout: gray images of camera 0, rectified here, and the body's true poses."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np

from spann3r_ros.errors import DataError
from spann3r_ros.files.text import read_text
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.axes import rotation_from_quaternion
from spann3r_ros.geometry.rectification import rectification
from spann3r_ros.recordings.sequence import FileSequence, ImageFile, require
from spann3r_ros.recordings.structured import read_yaml
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath

LAYOUT = "euroc"
EXPECTED = "SEQUENCE/mav0/{cam0/data.csv,cam0/sensor.yaml,cam0/data/,state_groundtruth_estimate0/data.csv}"
DISTORTIONS = {"radial-tangential": "plumb_bob", "equidistant": "equidistant"}


def matches(path: Path) -> bool:
    """A folder with ``mav0/cam0``, or ``mav0`` itself."""
    return (_root(path) / "cam0").is_dir()


def load(path: Path) -> FileSequence:
    """Camera 0 of one sequence; the ground truth is optional."""
    root = _root(path)
    sensor = _read_sensor(require(root / "cam0" / "sensor.yaml", LAYOUT, EXPECTED))
    rows = _read_rows(require(root / "cam0" / "data.csv", LAYOUT, "lines 'stamp,file'"), 2)
    try:
        fx, fy, cx, cy = sensor["intrinsics"]
        width, height = sensor["resolution"]
        model = DISTORTIONS[sensor["distortion_model"]]
        maps = rectification(Intrinsics(fx, fy, cx, cy, width, height), model, sensor["distortion_coefficients"])
        body_from_camera = Sim3.from_matrix(np.array(sensor["T_BS"]["data"], dtype=np.float64).reshape(4, 4))
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise DataError(
            f"camera description {root / 'cam0' / 'sensor.yaml'}",
            got=repr(error),
            expected="intrinsics, resolution, distortion_model, distortion_coefficients and T_BS",
        ) from error
    plain = None if maps else Intrinsics(fx, fy, cx, cy, width, height)
    views = [
        ImageFile(
            int(row[0]), require(root / "cam0" / "data" / row[1].strip(), LAYOUT, "a file of cam0/data.csv"), plain
        )
        for row in rows
    ]
    truth = root / "state_groundtruth_estimate0" / "data.csv"
    trajectory = _read_truth(truth, body_from_camera) if truth.exists() else None
    name = path.name if path.name != "mav0" else path.resolve().parent.name
    return FileSequence(name, LAYOUT, path, views, trajectory, rectification=maps)


def _root(path: Path) -> Path:
    """The folder ``mav0``."""
    return path if path.name == "mav0" else path / "mav0"


def _read_sensor(path: Path) -> dict[str, Any]:
    """The camera's YAML description."""
    sensor = read_yaml(path)
    if not isinstance(sensor, dict):
        raise DataError(f"camera description {path}", got=type(sensor).__name__, expected="a YAML mapping")
    return sensor


def _read_rows(path: Path, columns: int) -> list[list[str]]:
    """Rows of a CSV file without comments, of at least ``columns`` entries, by stamp."""
    try:
        rows = [row for row in csv.reader(read_text(path).split("\n")) if row and not row[0].startswith("#")]
    except csv.Error as error:
        raise DataError(f"rows of {path}", got=error, expected=f"{columns} columns") from error
    wrong = next((row for row in rows if len(row) < columns or not re.fullmatch(r"\s*[0-9]{1,18}\d?\s*", row[0])), None)
    if wrong is not None or not rows:
        raise DataError(f"rows of {path}", got=wrong, expected=f"a stamp in ns and {columns - 1} more columns")
    return sorted(rows, key=lambda row: int(row[0]))


def _read_truth(path: Path, body_from_camera: Sim3) -> CameraPath:
    """True camera poses of the rows ``stamp, position, quaternion w x y z, ...`` of the body."""
    rows = _read_rows(path, 8)
    stamps = [int(row[0]) for row in rows]
    try:
        numbers = np.array([row[1:8] for row in rows], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"numbers in {path}", got=error, expected="position and quaternion") from error
    rotations = rotation_from_quaternion(numbers[:, [4, 5, 6, 3]])
    poses = [
        Sim3.rigid(rotation, position) @ body_from_camera
        for rotation, position in zip(rotations, numbers[:, :3], strict=True)
    ]
    return CameraPath.from_poses(stamps, poses)
