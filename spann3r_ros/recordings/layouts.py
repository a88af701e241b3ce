"""Dataset folders, videos and bags as sequences of frames: one module a layout in this folder.

Such a module has ``LAYOUT`` (its name), ``EXPECTED`` (what must lie where), ``matches(path) -> bool`` (a quick look at
names) and ``load(path) -> Sequence`` (which refuses an incomplete one with a DataError).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from spann3r_ros.errors import DataError
from spann3r_ros.recordings.sequence import IMAGE_SUFFIXES, Sequence


class Layout(Protocol):
    """A module of this folder."""

    LAYOUT: str
    EXPECTED: str

    def matches(self, path: Path) -> bool:
        """Whether the names at the path look like this layout."""
        ...

    def load(self, path: Path) -> Sequence:
        """The sequence; raises DataError that names what was expected where."""
        ...


# In the order in which they are recognized: the plain ones match almost anything and come last.
MODULES = (
    "bag_sequence",
    "seven_scenes",
    "nrgbd",
    "dtu",
    "tum_rgbd",
    "euroc",
    "replica",
    "posed_images",
    "video",
    "images",
)

STORAGES = (".mcap", ".db3", ".bag", ".zstd", ".mp4", ".avi", ".mov", ".mkv")
HINTS = {
    (".bag.active", ".mcap.active"): "The recorder was killed: give the file its suffix back without '.active'",
    (*IMAGE_SUFFIXES, ".heic"): "One image is no recording: give the folder",
    (".zip", ".tar", ".gz", ".tgz", ".xz", ".7z", ".rar", ".bz2"): "Unpack the archive first",
    (".svo", ".svo2"): "ZED's recordings: export images or a video with the ZED SDK's ZED_Media_Converter",
    (".klg", ".oni", ".mkv3"): "Export the color images to files first",
    (".ply", ".pcd", ".las"): "A cloud, not images: `spann3r_ros view` shows a PLY",
    (".txt", ".tum", ".csv"): "A trajectory, not images: `spann3r_ros evaluate` compares it",
    (".yaml", ".yml"): "Give the folder of the bag, not its metadata.yaml",
}
"""What to do about files of other kinds, by the end of their names."""


def layouts() -> dict[str, Layout]:
    """Every layout by its name."""
    modules = [cast(Layout, importlib.import_module(f"spann3r_ros.recordings.{module}")) for module in MODULES]
    return {module.LAYOUT: module for module in modules}


def open_sequence(path: Path, layout: str = "auto") -> Sequence:
    """The sequence at a path.

    Args:
        path: bag, dataset folder, image folder or video file.
        layout: name of the layout; ``auto`` takes the first whose names match.

    Raises:
        DataError: no such path, no layout that matches, or an incomplete one.
    """
    path = existing(path)
    known = layouts()
    if layout != "auto":
        if layout not in known:
            raise DataError("layout", got=layout, expected=" | ".join(["auto", *known]))
        return known[layout].load(path)
    for module in known.values():
        if module.matches(path):
            return module.load(path)
    raise DataError(
        f"nothing known at {path}",
        got=", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "an empty folder"
        if path.is_dir()
        else f"a file '{path.suffix}'",
        expected="; ".join(f"{name}: {module.EXPECTED}" for name, module in known.items()),
        next_step=_hint(path, known),
    )


def existing(path: Path) -> Path:
    """The path, ``~`` and ``~user`` expanded; raises DataError when nothing that can be read is there."""
    try:
        path = path.expanduser()
        if path.is_dir():
            next(path.iterdir(), None)
        found = path.is_dir() or path.is_file()
        if not found and path.exists():
            raise DataError("neither a file nor a folder", got=str(path), expected="a recording")
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"path {str(path)!r} cannot be read", got=error, expected="a file or a folder") from error
    if not found:
        raise DataError("no such file or folder", got=str(path))
    return path


def _hint(path: Path, known: dict[str, Layout]) -> str:
    """What to do about the most likely cause."""
    if path.is_dir():
        inside = [entry for entry in sorted(path.iterdir()) if entry.is_dir() or entry.suffix in STORAGES]
        found = [entry.name for entry in inside if any(module.matches(entry) for module in known.values())]
        return f"Recordings lie in it; choose one: {', '.join(found[:8])}" if found else ""
    for suffixes, hint in HINTS.items():
        if path.name.lower().endswith(suffixes):
            return hint
    return ""
