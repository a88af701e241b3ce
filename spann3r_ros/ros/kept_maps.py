"""Maps that are kept on disk before time that jumped back makes the node begin a new one."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rclpy.node import Node

from spann3r_ros.errors import DataError
from spann3r_ros.files.location import location
from spann3r_ros.mapping.storage import SavedMap, delete_map

NAME = re.compile(r"\d{8}_\d{6}_\d{6}")
"""A kept map is called after its date and time, to the microsecond."""


class KeptMaps:
    """The last maps of a node, in a folder of its own beside its logs."""

    def __init__(self, node: Node) -> None:
        self.folder = logs_folder() / f"{own_name(node)}_kept_maps"

    def keep(self, save: Callable[[Path], SavedMap], most: int) -> SavedMap:
        """Save one more map, then delete the oldest of those beyond ``most``; raises what ``save`` raises."""
        saved = save(self.folder / datetime.now().strftime("%Y%m%d_%H%M%S_%f"))
        kept = sorted(entry for entry in self.folder.iterdir() if NAME.fullmatch(entry.name))
        for old in kept[:-most]:
            with contextlib.suppress(OSError, DataError):  # what cannot be deleted is tried again next time
                delete_map(old)
        return saved


def own_name(node: Node) -> str:
    """The node's full name, as a part of a file's name."""
    return node.get_fully_qualified_name().strip("/").replace("/", "_")


def logs_folder() -> Path:
    """Where ROS writes its logs."""
    home = location(os.environ.get("ROS_HOME") or "~/.ros")
    return location(os.environ.get("ROS_LOG_DIR") or home / "log")
