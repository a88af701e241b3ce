"""``loops``: which images of a recording show a place again."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from spann3r_ros.cli.run_progress import INCOMPLETE
from spann3r_ros.cli.source_options import add_source_options, source_options
from spann3r_ros.mapping.retrieval import RetrievalSettings, loop_pairs
from spann3r_ros.models.loading import load_descriptor
from spann3r_ros.recordings.source import open_source

BATCH = 32
"""Images that are described together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    usual = RetrievalSettings()
    parser.add_argument("source", type=Path, help="folder of images, video file, dataset sequence or bag")
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights of a descriptor of places")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--similarity",
        type=float,
        default=usual.similarity,
        metavar="S",
        help=f"least inner product of two descriptors of one place ({usual.similarity})",
    )
    parser.add_argument(
        "--suppression",
        type=int,
        default=usual.suppression,
        metavar="N",
        help=f"frames around both ends of a loop that can belong to no other ({usual.suppression})",
    )
    add_source_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each loop: the two images and how alike they are; 3 when images could not be read."""
    descriptor = load_descriptor(arguments.checkpoint, arguments.device)
    sequence = open_source(source_options(arguments.source, vars(arguments)))
    frames = islice(sequence.frames(), 0, None, arguments.every or 1)
    if arguments.limit:
        frames = islice(frames, arguments.limit)
    described, stamps = [np.zeros((0, descriptor.width), np.float32)], []
    with tqdm(unit="image", dynamic_ncols=True, disable=None) as bar:
        while batch := list(islice(frames, BATCH)):
            described.append(descriptor.describe(batch))
            stamps += [frame.stamp for frame in batch]
            bar.update(len(batch))
    settings = RetrievalSettings(similarity=arguments.similarity, suppression=arguments.suppression)
    loops = loop_pairs(np.concatenate(described), settings)
    for later, earlier, similarity in loops:
        now, then = stamps[later] / 1e9, stamps[earlier] / 1e9
        print(f"image {later} ({now:.3f} s) shows image {earlier} ({then:.3f} s): {similarity:.3f}")
    print(f"{len(loops)} loops in {len(stamps)} images")
    return INCOMPLETE if sum(sequence.missing.values()) else 0
