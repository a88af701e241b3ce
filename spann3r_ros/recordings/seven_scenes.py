"""7-Scenes (Microsoft): one folder a sequence, frames as color, depth and pose files.

Depth that was registered to the color camera (``*.depth.proj.png``) is preferred; the raw ``*.depth.png`` is seen from
the depth camera and a few pixels off.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.recordings.sequence import (
    FileSequence,
    ImageFile,
    invented_stamp,
    path_of,
    read_matrix,
    read_png_depth,
    require,
)

LAYOUT = "7scenes"
EXPECTED = "SCENE/seq-01/frame-000000.{color.png,depth.proj.png,pose.txt}"
INTRINSICS = Intrinsics(525.0, 525.0, 320.0, 240.0, 640, 480)
FARTHEST = 10.0
NEAREST = 1e-3

_log = logging.getLogger(__name__)


def matches(path: Path) -> bool:
    """A folder with ``frame-*.color.png``, or a scene of such folders."""
    return path.is_dir() and (any(path.glob("frame-*.color.png")) or any(path.glob("seq-*/frame-*.color.png")))


def load(path: Path) -> FileSequence:
    """One sequence; raises DataError for a whole scene (the error lists its sequences) or a frame without its pose."""
    images = sorted(path.glob("frame-*.color.png"))
    if not images:
        sequences = sorted(entry.name for entry in path.glob("seq-*") if entry.is_dir())
        raise DataError(
            "not a 7-Scenes sequence",
            got=f"no frame-*.color.png in {path}",
            expected=EXPECTED,
            next_step=f"Choose one of {', '.join(sequences)}" if sequences else "",
        )
    stems = [image.name.removesuffix(".color.png") for image in images]
    poses = [read_matrix(require(path / f"{stem}.pose.txt", LAYOUT, "the frame's pose"), 4, 4) for stem in stems]
    views = [
        ImageFile(invented_stamp(index), image, INTRINSICS, _depth_file(path, stem))
        for index, (image, stem) in enumerate(zip(images, stems, strict=True))
    ]
    if any(view.depth is not None and not view.depth.name.endswith(".proj.png") for view in views):
        _log.warning("%s has no *.depth.proj.png: raw depth is taken, which is not registered to the images", path)
    trajectory = path_of([view.stamp for view in views], poses)
    return FileSequence(f"{path.parent.name}/{path.name}", LAYOUT, path, views, trajectory, _read_depth)


def _depth_file(folder: Path, stem: str) -> Path | None:
    """The registered depth, else the raw one, else None."""
    candidates = (folder / f"{stem}.depth.proj.png", folder / f"{stem}.depth.png")
    return next((candidate for candidate in candidates if candidate.exists()), None)


def _read_depth(view: ImageFile) -> NDArray[np.float32]:
    """Meters; nothing beyond 10 m or under 1 mm."""
    assert view.depth is not None
    depth = read_png_depth(view.depth, per_unit=1000.0, largest=FARTHEST)
    depth[depth < NEAREST] = np.nan
    return depth
