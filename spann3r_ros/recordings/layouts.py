"""Dataset folders, videos and bags as sequences of frames: one module a layout in this folder.

Such a module has ``LAYOUT`` (its name), ``EXPECTED`` (what must lie where), ``matches(path) -> bool`` (a quick look at
names) and ``load(path) -> Sequence`` (which refuses an incomplete one with a DataError).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from spann3r_ros.errors import DataError
from spann3r_ros.recordings.sequence import Sequence


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
    if not path.exists():
        raise DataError("no such file or folder", got=str(path))
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
    )
