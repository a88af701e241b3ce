"""Opening a recording by its path and options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spann3r_ros.errors import DataError
from spann3r_ros.recordings import bag_sequence
from spann3r_ros.recordings.layouts import existing, open_sequence
from spann3r_ros.recordings.sequence import Sequence


@dataclass(frozen=True)
class SourceOptions:
    """Where frames come from.

    Attributes:
        path: file or folder.
        layout: one of ``layouts()``, or ``auto``.
        topic, camera_info, pose_topic, depth_topic: of a bag, instead of those that are found by type and name.
        stamp: of a bag's images, see ``BagReader.frames``.
    """

    path: Path
    layout: str = "auto"
    topic: str | None = None
    camera_info: str | None = None
    pose_topic: str | None = None
    depth_topic: str | None = None
    stamp: str | None = None


BAG_OPTIONS = ("topic", "camera_info", "pose_topic", "depth_topic", "stamp")


def open_source(options: SourceOptions) -> Sequence:
    """The sequence; raises DataError for what ``open_sequence`` refuses, and for options of a bag on anything else."""
    chosen = {name: getattr(options, name) for name in BAG_OPTIONS if getattr(options, name)}
    if not chosen:
        return open_sequence(options.path, options.layout)
    if options.layout not in ("auto", bag_sequence.LAYOUT):
        raise DataError(
            f"options of a bag with layout {options.layout}", got=", ".join(chosen), expected="none of them"
        )
    path = existing(options.path)
    if options.layout == "auto" and not bag_sequence.matches(path):
        found = open_sequence(path)
        raise DataError(f"options of a bag for a recording of layout {found.layout}", got=", ".join(chosen))
    return bag_sequence.load(path, **chosen)
