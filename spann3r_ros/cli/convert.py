"""``convert``: a dataset, a folder of images, a video or a bag into a rosbag2 with ground truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from spann3r_ros.cli.run_progress import INCOMPLETE
from spann3r_ros.cli.source_options import add_source_options, source_options
from spann3r_ros.recordings.conversion import write_bag
from spann3r_ros.recordings.source import open_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, help="dataset sequence, folder of images, video file or bag")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the bag; must not exist")
    parser.add_argument("--compressed", action="store_true", help="JPEG (CompressedImage) instead of raw images")
    parser.add_argument("--depth-encoding", choices=["16UC1", "32FC1"], default="16UC1", help="default: 16UC1 (mm)")
    add_source_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the bag and tell what is in it; 3 when frames are missing."""
    sequence = open_source(source_options(arguments.source, vars(arguments)))
    count = sequence.count()
    every = arguments.every or 1
    total = None if count is None else min(arguments.limit or count, -(-count // every))
    with tqdm(total=total, unit="image", dynamic_ncols=True) as bar:
        done = write_bag(
            sequence,
            arguments.output,
            every=every,
            limit=arguments.limit,
            compressed=arguments.compressed,
            depth_encoding=arguments.depth_encoding,
            progress=lambda: bar.update() and None,
        )
    print(
        f"{sequence.layout}: {done.images} images, {done.poses} poses, {done.depths} depth images in {arguments.output}"
    )
    lost = sequence.missing.total()
    if lost:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in sequence.missing.items())
        print(f"incomplete: the source promised {lost} more frames that could not be read: {reasons}")
    return INCOMPLETE if lost else 0
