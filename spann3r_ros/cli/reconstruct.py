"""``reconstruct``: images, a video, a dataset or a bag into a map and a trajectory, without a ROS graph."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from spann3r_ros.alignment.pair_graph import FORMS
from spann3r_ros.cli.configuration import add_parameter_options, read_config
from spann3r_ros.cli.measurement_options import add_measurement_options, measured_sequence
from spann3r_ros.cli.run_progress import run_unordered_with_progress, run_with_progress, status, summary
from spann3r_ros.cli.source_options import add_source_options, source_options
from spann3r_ros.config import WEIGHTS_NOTES
from spann3r_ros.errors import ConfigError
from spann3r_ros.recordings.source import open_source
from spann3r_ros.runs.chosen_model import reconstruction_for
from spann3r_ros.runs.folder import OptionalFiles
from spann3r_ros.runs.offline import OfflineRun
from spann3r_ros.runs.unordered_methods import METHODS, UnorderedOptions
from spann3r_ros.runs.unordered_run import MOST_IMAGES, UnorderedRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, help="folder of images, video file, dataset sequence or bag")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder for the results")
    parser.add_argument(
        "--unordered",
        action="store_true",
        help=f"photographs whose order means nothing, at most {MOST_IMAGES} unless --limit allows more",
    )
    parser.add_argument(
        "--align",
        choices=METHODS,
        default="",
        help="how unordered photographs are put together: global (DUSt3R, MASt3R: by the points of all pairs), "
        "sparse (MASt3R: by matches), spann3r; by default what suits the family",
    )
    parser.add_argument(
        "--pairs", default="complete", metavar="GRAPH", help=f"pairs that global and sparse look at: {FORMS}"
    )
    parser.add_argument(
        "--iterations", type=int, default=300, help="of the alignment (sparse: of each of its two stages), default 300"
    )
    parser.add_argument("--depth", action="store_true", help="write depth images (32-bit TIFF)")
    parser.add_argument("--pointmaps", action="store_true", help="write pointmaps (.npz), which `evaluate` needs")
    parser.add_argument("--colmap", action="store_true", help="write cameras and points as a COLMAP text model")
    parser.add_argument("--transforms", action="store_true", help="write Nerfstudio's transforms.json")
    parser.add_argument("--bag", action="store_true", help="write poses, depth and TF as a rosbag2")
    parser.add_argument(
        "--intrinsics",
        type=intrinsics,
        metavar="FX,FY,CX,CY",
        help="of the images (rectified, where the recording's calibration does that), pixels; they count more than it",
    )
    add_measurement_options(parser)
    add_source_options(parser)
    add_parameter_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0, 3 when frames are missing, or 130 when Ctrl-C ended it early.

    What was finished is on disk either way.
    """
    config = read_config(arguments.config, arguments.set, arguments.preset)
    sequence = open_source(source_options(arguments.source, vars(arguments)))
    if arguments.unordered and (arguments.use_odometry or arguments.odometry_topic):
        raise ConfigError("odometry with --unordered", expected="a recording in its order, or no odometry")
    sequence = measured_sequence(sequence, config, vars(arguments))
    files = OptionalFiles(arguments.depth, arguments.pointmaps, arguments.colmap, arguments.transforms, arguments.bag)
    every, limit, camera = arguments.every or 1, arguments.limit, arguments.intrinsics
    if arguments.unordered:
        record = run_unordered_with_progress(
            UnorderedRun(
                sequence,
                config,
                arguments.output,
                files,
                every=every,
                limit=limit,
                intrinsics=camera,
                options=UnorderedOptions(arguments.align, arguments.pairs, arguments.iterations),
            )
        )
    else:
        reconstruction = reconstruction_for(sequence, config)
        record = run_with_progress(
            OfflineRun(sequence, reconstruction, arguments.output, files, every=every, limit=limit, intrinsics=camera)
        )
    print(summary(record, arguments.output))
    if note := config.weights_note:
        print(f"{note}: {WEIGHTS_NOTES[note]}. Real weights: python -m spann3r_ros models list")
    return status(record)


def intrinsics(text: str) -> tuple[float, float, float, float]:
    """Four numbers separated by commas."""
    fx, fy, cx, cy = (float(part) for part in text.split(","))
    if not (0 < fx < math.inf and 0 < fy < math.inf and math.isfinite(cx) and math.isfinite(cy)):
        raise argparse.ArgumentTypeError(f"'{text}' describes no camera: focal lengths are positive")
    return fx, fy, cx, cy
