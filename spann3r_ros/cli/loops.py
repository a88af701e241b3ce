"""``loops``: which images of a recording show a place again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from spann3r_ros.cli.run_progress import INCOMPLETE
from spann3r_ros.cli.source_options import add_source_options, source_options
from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Frame, check_smallest
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
    """Print a line for each loop: the two images and how alike they are; 3 when images could not be read or taken."""
    descriptor = load_descriptor(arguments.checkpoint, arguments.device)
    sequence = open_source(source_options(arguments.source, vars(arguments)))
    frames = islice(sequence.frames(), 0, None, arguments.every or 1)
    if arguments.limit:
        frames = islice(frames, arguments.limit)
    described, taken, refused = [np.zeros((0, descriptor.width), np.float32)], [], []
    with tqdm(unit="image", dynamic_ncols=True, disable=None) as bar:
        while batch := list(islice(frames, BATCH)):
            usable, reasons = _usable(batch)
            if usable:
                described.append(descriptor.describe(usable))
            taken += usable
            refused += reasons
            bar.update(len(batch))
    settings = RetrievalSettings(similarity=arguments.similarity, suppression=arguments.suppression)
    loops = loop_pairs(np.concatenate(described), settings)
    for later, earlier, similarity in loops:
        now, then = taken[later], taken[earlier]
        places = f"image {now.index} ({now.stamp / 1e9:.3f} s) shows image {then.index} ({then.stamp / 1e9:.3f} s)"
        print(f"{places}: {similarity:.3f}")
    print(f"{len(loops)} loops in {len(taken)} images")
    for line in refused:
        print(f"left out: {line}")
    return INCOMPLETE if refused or sum(sequence.missing.values()) else 0


def _usable(frames: Sequence[Frame]) -> tuple[list[Frame], list[str]]:
    """The frames that are large enough, and what is wrong with the others."""
    usable, reasons = [], []
    for frame in frames:
        try:
            check_smallest(frame.image.shape[1], frame.image.shape[0])
        except FrameError as error:
            reasons.append(f"image {frame.index}: {error}")
            continue
        usable.append(frame)
    return usable, reasons
