"""A folder of images, nothing else known.

Files whose name contains "depth" are ignored; numbers in names count by value.
"""

from __future__ import annotations

from pathlib import Path

from spann3r_ros.errors import DataError
from spann3r_ros.recordings.sequence import IMAGE_SUFFIXES, FileSequence, ImageFile, invented_stamp, natural_order

LAYOUT = "images"
EXPECTED = "FOLDER/*.jpg|png|..."


def matches(path: Path) -> bool:
    """A folder with at least one image."""
    return path.is_dir() and bool(_images(path))


def load(path: Path) -> FileSequence:
    """The images at 30 frames/s; raises DataError when there is none."""
    images = _images(path) if path.is_dir() else []
    if not images:
        raise DataError(f"no images in {path}", expected="files " + " ".join(IMAGE_SUFFIXES))
    views = [ImageFile(invented_stamp(index), image) for index, image in enumerate(images)]
    return FileSequence(path.resolve().name, LAYOUT, path, views)


def _images(path: Path) -> list[Path]:
    """Image files in natural order."""
    files = (p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and "depth" not in p.name.lower())
    return sorted(files, key=natural_order)
