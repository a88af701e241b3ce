"""Replica as rendered for NICE-SLAM: ``results`` with frames and depth, ``traj.txt``, ``cam_params.json`` above."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.recordings.sequence import (
    FileSequence,
    ImageFile,
    invented_stamp,
    natural_order,
    path_of,
    read_matrix,
    read_png_depth,
    require,
)
from spann3r_ros.recordings.structured import read_json

LAYOUT = "replica"
EXPECTED = "cam_params.json beside or in SCENE/{results/frame000000.jpg,results/depth000000.png,traj.txt}"


def matches(path: Path) -> bool:
    """A folder with ``traj.txt`` and ``results/frame*``."""
    return (path / "traj.txt").exists() and any((path / "results").glob("frame*"))


def load(path: Path) -> FileSequence:
    """One scene; raises DataError when images, depth and poses are not equally many."""
    images = sorted(require(path / "results", LAYOUT, EXPECTED).glob("frame*.*"), key=natural_order)
    if not images:
        raise DataError(f"incomplete {LAYOUT} folder", got=f"no frame* in {path / 'results'}", expected=EXPECTED)
    matrices = read_matrix(require(path / "traj.txt", LAYOUT, "16 numbers a frame"), -1, 16).reshape(-1, 4, 4)
    if len(matrices) != len(images):
        raise DataError(f"poses in {path / 'traj.txt'}", got=len(matrices), expected=f"one an image, {len(images)}")
    inside, beside = path / "cam_params.json", path.resolve().parent / "cam_params.json"
    intrinsics, per_meter = _read_camera(
        inside if inside.exists() else require(beside, LAYOUT, "camera parameters w h fx fy cx cy scale")
    )
    views = [
        ImageFile(
            invented_stamp(index),
            image,
            intrinsics,
            require(image.with_name(image.stem.replace("frame", "depth") + ".png"), LAYOUT, "the frame's depth"),
        )
        for index, image in enumerate(images)
    ]

    def read_depth(view: ImageFile) -> NDArray[np.float32]:
        assert view.depth is not None
        return read_png_depth(view.depth, per_meter)

    trajectory = path_of([view.stamp for view in views], list(matrices))
    return FileSequence(path.name, LAYOUT, path, views, trajectory, read_depth)


def _read_camera(path: Path) -> tuple[Intrinsics, float]:
    """Intrinsics and depth values per meter of ``{"camera": {...}}``."""
    try:
        camera = read_json(path)["camera"]
        fx, fy, cx, cy, per_meter = (float(camera[name]) for name in ("fx", "fy", "cx", "cy", "scale"))
        return Intrinsics(fx, fy, cx, cy, int(camera["w"]), int(camera["h"])), per_meter
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise DataError(
            f"camera parameters {path}", got=repr(error), expected="JSON camera: w h fx fy cx cy scale"
        ) from error
