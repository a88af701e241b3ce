"""Maps that are kept on disk before time that jumped back makes the node begin a new one."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rclpy.node import Node

from spann3r_ros.files.location import location
from spann3r_ros.mapping.storage import OWN, SavedMap

NAME = re.compile(r"\d{8}_\d{6}_\d{6}")
"""A kept map is called after its date and time, to the microsecond."""


class KeptMaps:
    """The last maps of a node, in a folder of its own beside its logs."""

    def __init__(self, node: Node) -> None:
        self.folder = logs_folder() / f"{node.get_fully_qualified_name().strip('/').replace('/', '_')}_kept_maps"

    def keep(self, save: Callable[[Path], SavedMap], most: int) -> SavedMap:
        """Save one more map, then delete the oldest of those beyond ``most``; raises what ``save`` raises."""
        saved = save(self.folder / datetime.now().strftime("%Y%m%d_%H%M%S_%f"))
        with contextlib.suppress(OSError):  # what cannot be deleted is tried again next time
            kept = sorted(entry for entry in self.folder.iterdir() if NAME.fullmatch(entry.name) and _is_folder(entry))
            for old in kept[:-most]:
                _delete(old)
        return saved


def logs_folder() -> Path:
    """Where ROS writes its logs."""
    home = location(os.environ.get("ROS_HOME") or "~/.ros")
    return location(os.environ.get("ROS_LOG_DIR") or home / "log")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _delete(saved: Path) -> None:
    """A saved map, and nothing that somebody put beside it."""
    for name in OWN:
        (saved / name).unlink(missing_ok=True)
    saved.rmdir()
