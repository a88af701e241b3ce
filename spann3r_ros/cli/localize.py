"""``localize``: where each image of a recording was taken, in a saved map or in the one scene of a relocalizer."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from spann3r_ros.cli.configuration import add_parameter_options, read_config
from spann3r_ros.cli.run_progress import INCOMPLETE
from spann3r_ros.cli.source_options import add_source_options, source_options
from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, DataError, FrameError
from spann3r_ros.evaluation.relocalization import relocalization_errors
from spann3r_ros.files.tum import write_trajectory
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import Relocalizer
from spann3r_ros.models.loading import load_relocalizer
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.recordings.source import open_source
from spann3r_ros.trajectory import StampedPose

MAX_GAP = 20_000_000
"""Nanoseconds between an image and its true pose."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="folder of images, video file, dataset sequence or bag; for poses in a saved map, before it the folder of "
        "~/save_map (of a run with relocalizer: retrieval)",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="weights of a relocalizer (docs/training.md); needed without a map, with one it gives the candidates",
    )
    parser.add_argument("-o", "--output", type=Path, help="write the poses in TUM's format")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add_source_options(parser)
    add_parameter_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the median errors where the recording has true poses; 3 when images could not be located."""
    if len(arguments.sources) > 2:
        raise ConfigError("what to localize", got=len(arguments.sources), expected="SOURCE, or MAP SOURCE")
    *maps, source = arguments.sources
    sequence = open_source(source_options(source, vars(arguments)))
    frames = islice(sequence.frames(), 0, None, arguments.every or 1)
    if arguments.limit:
        frames = islice(frames, arguments.limit)
    shown = tqdm(frames, unit="image", dynamic_ncols=True, disable=None)
    if maps:
        config = read_config(arguments.config, arguments.set, arguments.preset)
        config.device = config.device if arguments.device == "auto" else arguments.device
        poses, refused = in_map(maps[0], shown, config, arguments.checkpoint)
    elif arguments.checkpoint is None:
        raise ConfigError("localize without a map", expected="MAP SOURCE, or SOURCE with --checkpoint")
    else:
        poses, refused = in_scene(load_relocalizer(arguments.checkpoint, arguments.device), shown)
    if not poses:
        got = "none" + (f" of {len(refused)}: {refused[0]}" if refused else "")
        raise DataError(f"images of {sequence.path} that can be located", got=got, expected="at least one")
    truth = None if maps else sequence.ground_truth()  # which is in a world of its own
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


def in_scene(relocalizer: Relocalizer, frames: Iterable[Frame]) -> tuple[list[StampedPose], list[str]]:
    """Poses in the scene of the weights, and what is wrong with the other images."""
    poses, refused = [], []
    for frame in frames:
        try:
            pose = relocalizer.locate(frame)
        except FrameError as error:
            refused.append(f"image {frame.index}: {error}")
            continue
        poses.append(StampedPose(frame.index, frame.stamp, frame.camera, pose))
    return poses, refused


def in_map(
    path: Path, frames: Iterable[Frame], config: Config, relocalizer: Path | None
) -> tuple[list[StampedPose], list[str]]:
    """Poses in the world of a saved map, and why there is none of the other images.

    Those before the camera was found get their poses, too: they moved into that world with the others.
    """
    config.relocalizer = "retrieval" if relocalizer is None else "posenet"
    config.relocalizer_checkpoint = "" if relocalizer is None else str(relocalizer)
    reconstruction = Reconstruction.from_config(config)
    reconstruction.relocalize(path)
    reasons: dict[int, str] = {}
    for frame in frames:
        reasons[frame.stamp] = f"image {frame.index}: its answer does not fit what was seen before"
        try:
            reconstruction.process(frame)
        except FrameError as error:
            reasons[frame.stamp] = f"image {frame.index}: {error}"
    reconstruction.flush()
    if reconstruction.is_relocalizing:
        raise DataError(
            f"the camera was not found in {path}",
            got=f"{len(reasons)} images that show no place of the map",
            next_step="Begin where the map was made, or lower loops.similarity (--set loops.similarity=0.8)",
        )
    poses = list(reconstruction.new_poses())
    for pose in poses:
        reasons.pop(pose.stamp, None)
    return poses, list(reasons.values())
