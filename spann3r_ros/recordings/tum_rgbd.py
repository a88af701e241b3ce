"""TUM RGB-D benchmark (Sturm et al., IROS 2012): lists of stamped files and a ground-truth trajectory.

Intrinsics of the benchmark's own sequences, whose names hold "freiburg", are those that it recommends for its
pre-registered depth: 525 px without undistortion, and the calibration of the already rectified freiburg3. Other
recordings in this layout bring their own (``calibration_file``), or none.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.files.text import read_text
from spann3r_ros.files.tum import read_camera_path, stamp_from_text
from spann3r_ros.frame import Intrinsics
from spann3r_ros.recordings.calibration_file import find_calibration
from spann3r_ros.recordings.sequence import FileSequence, ImageFile, image_size, read_png_depth, require

LAYOUT = "tum"
EXPECTED = "SEQUENCE/{rgb.txt,depth.txt,groundtruth.txt,rgb/,depth/}"
INTRINSICS = Intrinsics(525.0, 525.0, 319.5, 239.5, 640, 480)
FREIBURG3 = Intrinsics(535.4, 539.2, 320.1, 247.6, 640, 480)
PER_METER = 5000.0
MAX_GAP = 20_000_000
"""Nanoseconds between an image and the depth image that counts as its own."""

_log = logging.getLogger(__name__)


def matches(path: Path) -> bool:
    """A folder with ``rgb.txt`` and ``groundtruth.txt``."""
    return (path / "rgb.txt").exists() and (path / "groundtruth.txt").exists()


def load(path: Path) -> FileSequence:
    """One sequence; the depth list is optional, images that are listed but missing are a DataError."""
    images = _read_list(require(path / "rgb.txt", LAYOUT, "lines 'stamp file'"))
    if not images:
        raise DataError(f"no images listed in {path / 'rgb.txt'}", expected="lines 'stamp file'")
    calibration, intrinsics = None, None
    if "freiburg" in path.resolve().name:
        intrinsics = FREIBURG3 if "freiburg3" in path.resolve().name else INTRINSICS
    first = require(path / images[0][1], LAYOUT, "a file listed in rgb.txt")
    if intrinsics is None or image_size(first) != (intrinsics.width, intrinsics.height):
        intrinsics, calibration = None, find_calibration(path, first)
        if calibration is None:
            _log.warning(
                "%s is no sequence of the benchmark (or of another image size) and has no calibration.txt "
                "(fx fy cx cy): its focal length is estimated unless --intrinsics tells it",
                path,
            )
    depths = _read_list(path / "depth.txt") if (path / "depth.txt").exists() else []
    if depths and intrinsics is None:
        _log.warning("%s: depth is taken as %g per meter, as in the benchmark", path, PER_METER)
    depth_stamps = np.array([stamp for stamp, _ in depths], dtype=np.int64)
    views = []
    for stamp, file in images:
        depth = None
        if depths:
            nearest = int(np.abs(depth_stamps - stamp).argmin())
            if abs(int(depth_stamps[nearest]) - stamp) <= MAX_GAP:
                depth = require(path / depths[nearest][1], LAYOUT, "a file listed in depth.txt")
        views.append(ImageFile(stamp, require(path / file, LAYOUT, "a file listed in rgb.txt"), intrinsics, depth))
    trajectory = read_camera_path(require(path / "groundtruth.txt", LAYOUT, "lines 'stamp tx ty tz qx qy qz qw'"))
    sequence = FileSequence(path.name, LAYOUT, path, views, trajectory, _read_depth)
    return sequence if calibration is None else calibration.applied(sequence)


def _read_list(path: Path) -> list[tuple[int, str]]:
    """Stamps in nanoseconds and file names, by stamp; raises DataError for another kind of line."""
    entries = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            stamp, file = words
            entries.append((stamp_from_text(stamp), file))
        except ValueError as error:
            raise DataError(f"line {number} of {path}", got=line, expected="'stamp file'") from error
    return sorted(entries)


def _read_depth(view: ImageFile) -> NDArray[np.float32]:
    """Meters."""
    assert view.depth is not None
    return read_png_depth(view.depth, PER_METER)
