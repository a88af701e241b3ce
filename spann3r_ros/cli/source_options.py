"""The options that say where frames come from, shared by the subcommands that read recordings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spann3r_ros.recordings.bag_reader import STAMPS
from spann3r_ros.recordings.layouts import layouts
from spann3r_ros.recordings.source import BAG_OPTIONS, SourceOptions


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that go with a source."""
    group = parser.add_argument_group("source")
    group.add_argument(
        "--layout",
        default="auto",
        choices=["auto", *layouts()],
        metavar="LAYOUT",
        help=f"auto | {' | '.join(layouts())}",
    )
    group.add_argument("--every", type=positive, metavar="N", help="use only every N-th frame")
    group.add_argument("--limit", type=positive, default=0, metavar="N", help="stop after N frames")
    group.add_argument("--topic", help="image topic of a bag; needed when it has several")
    group.add_argument("--camera-info", metavar="TOPIC", help="CameraInfo topic of a bag; default: beside the images")
    group.add_argument("--pose-topic", metavar="TOPIC", help="true poses of a bag: a pose topic, or /tf")
    group.add_argument("--depth-topic", metavar="TOPIC", help="true depth of a bag")
    group.add_argument("--stamp", choices=STAMPS, help="when a bag's images were taken: header (default), or arrival")


def source_options(path: Path, options: Mapping[str, Any]) -> SourceOptions:
    """The source at a path; ``options`` are those that ``add_source_options`` declared, by name, among others."""
    return SourceOptions(path, options["layout"], **{name: options[name] for name in BAG_OPTIONS})


def positive(text: str) -> int:
    """An integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value
