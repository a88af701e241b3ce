"""The options that say where frames come from, shared by the subcommands that read recordings."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.datasets import layouts, open_sequence
from spann3r_ros.evaluation.datasets.bag import BagSequence
from spann3r_ros.evaluation.datasets.bag import load as load_bag
from spann3r_ros.evaluation.datasets.sequence import Sequence

BAG_OPTIONS = ("topic", "camera_info", "pose_topic", "depth_topic")


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


def open_source(path: Path, arguments: argparse.Namespace) -> Sequence:
    """The sequence at a path; raises DataError for options of a bag on anything else."""
    options = {name: getattr(arguments, name) for name in BAG_OPTIONS if getattr(arguments, name)}
    if not options:
        return open_sequence(path, arguments.layout)
    sequence = load_bag(path, topic=options.get("topic")) if arguments.layout in ("auto", "bag") else None
    if not isinstance(sequence, BagSequence):
        raise DataError(
            f"options of a bag with layout {arguments.layout}", got=", ".join(options), expected="none of them"
        )
    return dataclasses.replace(sequence, **options)


def positive(text: str) -> int:
    """An integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value
