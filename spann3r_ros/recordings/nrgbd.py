"""Neural RGB-D (Azinović et al., CVPR 2022): synthetic rooms with OpenGL poses in one file."""

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

LAYOUT = "nrgbd"
EXPECTED = "SCENE/{images/img0.png,depth/depth0.png,poses.txt}"
INTRINSICS = Intrinsics(554.2562584220408, 554.2562584220408, 320.0, 240.0, 640, 480)
FARTHEST = 10.0
CV_FROM_GL = np.diag([1.0, -1.0, -1.0, 1.0])


def matches(path: Path) -> bool:
    """A folder with ``poses.txt`` and ``images/img*``."""
    return (path / "poses.txt").exists() and any((path / "images").glob("img*.png"))


def load(path: Path) -> FileSequence:
    """One scene; raises DataError when images, depth and poses are not equally many."""
    images = sorted(require(path / "images", LAYOUT, EXPECTED).glob("img*.png"), key=natural_order)
    if not images:
        raise DataError(f"incomplete {LAYOUT} folder", got=f"no img*.png in {path / 'images'}", expected=EXPECTED)
    matrices = read_matrix(require(path / "poses.txt", LAYOUT, "4 lines of 4 numbers a frame"), -1, 4)
    if len(matrices) != 4 * len(images):
        raise DataError(
            f"poses in {path / 'poses.txt'}",
            got=f"{len(matrices)} lines for {len(images)} images",
            expected=f"4 lines an image, {4 * len(images)}",
        )
    views = [
        ImageFile(
            invented_stamp(index),
            image,
            INTRINSICS,
            require(path / "depth" / image.name.replace("img", "depth"), LAYOUT, "the image's depth, 16-bit mm"),
        )
        for index, image in enumerate(images)
    ]
    poses = [matrix @ CV_FROM_GL for matrix in matrices.reshape(-1, 4, 4)]
    trajectory = path_of([view.stamp for view in views], poses)
    return FileSequence(path.name, LAYOUT, path, views, trajectory, _read_depth)


def _read_depth(view: ImageFile) -> NDArray[np.float32]:
    """Meters; nothing beyond 10 m."""
    assert view.depth is not None
    return read_png_depth(view.depth, per_unit=1000.0, largest=FARTHEST)
