"""``localize``: where each image of a recording was taken, in the one scene that a relocalizer's weights know."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from spann3r_ros.cli.run_progress import INCOMPLETE
from spann3r_ros.cli.source_options import add_source_options, source_options
from spann3r_ros.errors import ConfigError, DataError, FrameError
from spann3r_ros.evaluation.relocalization import relocalization_errors
from spann3r_ros.files.tum import write_trajectory
from spann3r_ros.models.loading import load_relocalizer
from spann3r_ros.recordings.source import open_source
from spann3r_ros.trajectory import StampedPose

MAX_GAP = 20_000_000
"""Nanoseconds between an image and its true pose."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, help="folder of images, video file, dataset sequence or bag")
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights of a relocalizer (docs/training.md)")
    parser.add_argument("-o", "--output", type=Path, help="write the poses in TUM's format")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add_source_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the median errors where the recording has true poses; 3 when images could not be located."""
    relocalizer = load_relocalizer(arguments.checkpoint, arguments.device)
    sequence = open_source(source_options(arguments.source, vars(arguments)))
    frames = islice(sequence.frames(), 0, None, arguments.every or 1)
    if arguments.limit:
        frames = islice(frames, arguments.limit)
    poses, refused = [], []
    for frame in tqdm(frames, unit="image", dynamic_ncols=True, disable=None):
        try:
            pose = relocalizer.locate(frame)
        except FrameError as error:
            refused.append(f"image {frame.index}: {error}")
            continue
        poses.append(StampedPose(frame.index, frame.stamp, frame.camera, pose))
    if not poses:
        raise DataError(f"images of {sequence.path} that can be located", got="none", expected="at least one")
    truth = sequence.ground_truth()
    if arguments.output is not None:
        write_trajectory(arguments.output, poses)
        print(f"poses: {arguments.output}")
    elif truth is None or truth.trajectory is None:
        raise ConfigError("nothing to do with the poses", expected="--output FILE, or a recording with true poses")
    print(f"{len(poses)} images located")
    if truth is not None and truth.trajectory is not None:
        found = [pose.target_from_camera for pose in poses]
        errors = relocalization_errors([pose.stamp for pose in poses], found, truth.trajectory, MAX_GAP)
        print(
            f"median error: {errors.median_position:.3f} {sequence.unit}, {errors.median_angle:.2f} degrees "
            f"({len(errors.positions)} images with a true pose)"
        )
    for line in refused:
        print(f"not located: {line}")
    missing = sum(sequence.missing.values())
    if missing:
        print(f"{missing} images could not be read: {', '.join(sequence.missing)}")
    return INCOMPLETE if refused or missing else 0
