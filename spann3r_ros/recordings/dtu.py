"""DTU in MVSNet's layout: a scan's images with a camera file each, in millimeters.

The views are visited in reverse order of their names, as the published evaluation does.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.files.arrays import DAMAGE
from spann3r_ros.files.text import read_text
from spann3r_ros.frame import Intrinsics
from spann3r_ros.recordings.sequence import (
    FileSequence,
    ImageFile,
    image_size,
    invented_stamp,
    natural_order,
    path_of,
    require,
)

LAYOUT = "dtu"
EXPECTED = "SCAN/{images/00000000.jpg,cams/00000000_cam.txt,depths/00000000.npy|.pfm,binary_masks/00000000.png}"
EROSION = np.ones((10, 10), np.uint8)


def matches(path: Path) -> bool:
    """A folder with ``images`` and ``cams/*_cam.txt``."""
    return (path / "images").is_dir() and any((path / "cams").glob("*_cam.txt"))


def load(path: Path) -> FileSequence:
    """One scan; depth and masks are optional, a missing or malformed camera file is a DataError."""
    folder = require(path / "images", LAYOUT, EXPECTED)
    images = sorted((p for p in folder.iterdir() if p.suffix in (".jpg", ".png")), key=natural_order, reverse=True)
    if not images:
        raise DataError(f"incomplete {LAYOUT} folder", got=f"no images in {folder}", expected=EXPECTED)
    views, poses = [], []
    for index, image in enumerate(images):
        camera = require(path / "cams" / f"{image.stem}_cam.txt", LAYOUT, "the view's camera file")
        world_from_camera, k = read_camera(camera)
        fx, fy, cx, cy = map(float, (k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
        intrinsics = Intrinsics(fx, fy, cx, cy, *image_size(image))
        depths = (path / "depths" / f"{image.stem}{suffix}" for suffix in (".npy", ".pfm"))
        mask = path / "binary_masks" / f"{image.stem}.png"
        depth = next((candidate for candidate in depths if candidate.exists()), None)
        views.append(ImageFile(invented_stamp(index), image, intrinsics, depth, mask if mask.exists() else None))
        poses.append(world_from_camera)
    trajectory = path_of([view.stamp for view in views], poses)
    return FileSequence(path.name, LAYOUT, path, views, trajectory, _read_depth, unit="mm")


def read_camera(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``world_from_camera`` (4, 4) and K (3, 3) of an MVSNet camera file (which holds the inverse pose).

    Raises:
        DataError: the words or the numbers of the format are missing.
    """
    words = read_text(path).split()
    try:
        pose, k = words.index("extrinsic") + 1, words.index("intrinsic") + 1
        camera_from_world = np.array(words[pose : pose + 16], dtype=np.float64).reshape(4, 4)
        matrix = np.array(words[k : k + 9], dtype=np.float64).reshape(3, 3)
        return np.asarray(np.linalg.inv(camera_from_world), dtype=np.float64), matrix
    except (ValueError, np.linalg.LinAlgError) as error:
        raise DataError(
            f"camera file {path}", got=error, expected="'extrinsic', 4 x 4 numbers, 'intrinsic', 3 x 3 numbers"
        ) from error


def _read_depth(view: ImageFile) -> NDArray[np.float32]:
    """Millimeters inside the eroded mask."""
    assert view.depth is not None
    path = view.depth
    try:
        raw = np.load(path) if path.suffix == ".npy" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except DAMAGE as error:
        raise DataError("depth file", got=str(path), expected="a (H, W) float array") from error
    if raw is None or raw.ndim != 2:
        raise DataError("depth file", got=str(path), expected="a (H, W) float array")
    depth = np.asarray(raw, dtype=np.float32)
    known = np.isfinite(depth) & (depth > 0)
    if view.mask is not None:
        mask = cv2.imread(str(view.mask), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise DataError("mask cannot be read", got=str(view.mask), expected="a PNG file")
        binary = (mask > 127).astype(np.uint8)
        inside = cv2.resize(binary, (depth.shape[1], depth.shape[0]), interpolation=cv2.INTER_NEAREST)
        known &= cv2.erode(inside, EROSION) > 0
    return np.where(known, depth, np.float32(np.nan))
