"""A plain folder of images with a TUM trajectory, for one's own recordings.

Image names that are numbers are stamps: with a decimal point in seconds, with 16 or more digits in nanoseconds.
Otherwise the k-th image (numbers count by value) belongs to the k-th pose.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.files.tum import read_camera_path, stamp_from_text
from spann3r_ros.frame import Intrinsics
from spann3r_ros.recordings.sequence import (
    IMAGE_SUFFIXES,
    FileSequence,
    ImageFile,
    natural_order,
    read_png_depth,
    require,
)
from spann3r_ros.recordings.structured import read_json

LAYOUT = "folder"
EXPECTED = "FOLDER/{images/,trajectory.txt}, optionally depth/NAME.png (16-bit, mm) and intrinsics.json"


def matches(path: Path) -> bool:
    """A folder with ``images`` and ``trajectory.txt``."""
    return (path / "images").is_dir() and (path / "trajectory.txt").exists()


def load(path: Path) -> FileSequence:
    """The folder; raises DataError when unstamped images and poses are not equally many."""
    folder = require(path / "images", LAYOUT, EXPECTED)
    images = sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=natural_order)
    if not images:
        raise DataError(f"no images in {folder}", expected=" ".join(IMAGE_SUFFIXES))
    trajectory = read_camera_path(require(path / "trajectory.txt", LAYOUT, "lines 'stamp tx ty tz qx qy qz qw'"))
    stamps = _stamps(images)
    if stamps is None:
        if len(images) != len(trajectory):
            raise DataError(
                f"images without stamps in {folder}",
                got=f"{len(images)} images, {len(trajectory)} poses",
                expected="as many as poses",
                next_step="Name the images by their stamps (seconds, or integer nanoseconds)",
            )
        stamps = [int(stamp) for stamp in trajectory.stamps]
    intrinsics = _read_intrinsics(path / "intrinsics.json") if (path / "intrinsics.json").exists() else None
    views = []
    for stamp, image in sorted(zip(stamps, images, strict=True)):
        depth = path / "depth" / f"{image.stem}.png"
        views.append(ImageFile(stamp, image, intrinsics, depth if depth.exists() else None))
    return FileSequence(path.name, LAYOUT, path, views, trajectory, _read_depth)


def _stamps(images: list[Path]) -> list[int] | None:
    """Nanoseconds by the files' names, or None when they are no stamps."""
    stems = [image.stem for image in images]
    if all(re.fullmatch("[0-9]{16,19}", stem) for stem in stems):
        return [int(stem) for stem in stems]
    if all(re.fullmatch(r"[0-9]{1,10}\.[0-9]*", stem) for stem in stems):
        return [stamp_from_text(stem) for stem in stems]
    return None


def _read_intrinsics(path: Path) -> Intrinsics:
    """Intrinsics by their names."""
    try:
        values = read_json(path)
        fx, fy, cx, cy = (float(values[name]) for name in ("fx", "fy", "cx", "cy"))
        return Intrinsics(fx, fy, cx, cy, int(values["width"]), int(values["height"]))
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise DataError(f"intrinsics {path}", got=repr(error), expected="JSON: fx fy cx cy width height") from error


def _read_depth(view: ImageFile) -> NDArray[np.float32]:
    """Meters."""
    assert view.depth is not None
    return read_png_depth(view.depth, per_unit=1000.0)
