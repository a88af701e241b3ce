"""``evaluate``: runs, recordings or trajectory files against the truth, into a report."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from spann3r_ros.cli.configuration import add_parameter_options, read_config
from spann3r_ros.cli.reconstruct import run_with_progress
from spann3r_ros.cli.source import add_source_options, open_source
from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.evaluation.datasets import open_sequence
from spann3r_ros.evaluation.datasets.bag import load as load_bag
from spann3r_ros.evaluation.datasets.sequence import DepthImage, GroundTruth
from spann3r_ros.evaluation.offline import OfflineRun
from spann3r_ros.evaluation.protocol import ALIGNMENTS, PROTOCOLS, Protocol, protocol
from spann3r_ros.evaluation.report import write_report
from spann3r_ros.evaluation.run_folder import RECORD, Artefacts, RunFolder
from spann3r_ros.evaluation.scores import Scores, evaluate_run, score_files
from spann3r_ros.evaluation.table import as_text
from spann3r_ros.evaluation.trajectory import CameraPath
from spann3r_ros.reconstruction import Reconstruction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "items",
        type=Path,
        nargs="*",
        metavar="RUN|SOURCE|TRAJECTORY",
        help="folders written by `reconstruct` or `replay`; recordings, which are reconstructed first; or .txt "
        "trajectories; several are put side by side",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the report")
    parser.add_argument(
        "--protocol",
        default="every",
        choices=PROTOCOLS,
        metavar="NAME",
        help="; ".join(map(_describe, PROTOCOLS.values())),
    )
    parser.add_argument("--alignment", choices=ALIGNMENTS, help="of the clouds, instead of the protocol's")
    parser.add_argument("--max-points", type=int, metavar="N", help="points of each cloud, instead of the protocol's")
    parser.add_argument(
        "--max-gap", type=float, default=0.01, metavar="S", help="seconds between estimate and truth (0.01)"
    )
    parser.add_argument("--reference", type=Path, metavar="TXT", help="true trajectory in TUM's format")
    parser.add_argument("--title", default="Evaluation", help="heading of the report")
    parser.add_argument("--no-plots", action="store_true", help="numbers only, without matplotlib")
    add_source_options(parser)
    add_parameter_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the scores and write the report; 130 when Ctrl-C ended a reconstruction early."""
    if not arguments.items:
        raise ConfigError("nothing to evaluate", expected="runs, recordings or trajectories")
    rules = protocol(arguments.protocol, alignment=arguments.alignment, max_points=arguments.max_points)
    scores: list[Scores] = []
    for item in arguments.items:
        scores.append(_score(item, rules, arguments))
        if not scores[-1].quality.finished:
            break
    report = write_report(arguments.output, scores, arguments.title, not arguments.no_plots)
    print(as_text(scores))
    print(f"report: {report}")
    return 0 if scores[-1].quality.finished else 130


def _score(item: Path, rules: Protocol, arguments: argparse.Namespace) -> Scores:
    """Scores of one item of the command line."""
    max_gap = round(arguments.max_gap * 1e9)
    if item.is_file() and item.suffix == ".txt":
        if arguments.reference is None:
            raise ConfigError("trajectory file without a truth", got=str(item), next_step="Give --reference FILE")
        return score_files(item, arguments.reference, rules, max_gap)
    folder = RunFolder(item) if (item / RECORD).exists() else _reconstruct(item, rules, arguments)
    truth = read_reference(arguments.reference) if arguments.reference else source_truth(folder)
    return evaluate_run(folder, truth, rules, max_gap)


def _reconstruct(source: Path, rules: Protocol, arguments: argparse.Namespace) -> RunFolder:
    """A run over a recording, in the report's folder."""
    sequence = open_source(source, arguments)
    folder = arguments.output / sequence.name.replace("/", "_")
    job = OfflineRun(
        sequence,
        Reconstruction.from_config(read_config(arguments)),
        folder,
        Artefacts(pointmaps=True),
        every=arguments.every or rules.stride(sequence.layout),
        limit=arguments.limit,
    )
    run_with_progress(job)
    return RunFolder(folder)


def read_reference(path: Path) -> GroundTruth:
    """A trajectory file as ground truth without depth."""

    def no_depth(index: int) -> DepthImage:
        raise DataError("a trajectory file has no depth", got=index)

    return GroundTruth(CameraPath.read(path), np.empty(0, np.int64), no_depth, str(path))


def source_truth(folder: RunFolder) -> GroundTruth | None:
    """Ground truth of the recording that a run was made from; raises DataError when that is gone."""
    source = folder.record().source
    path = Path(str(source["path"]))
    if source["layout"] == "bag":
        options = {
            name: source[name] for name in ("topic", "camera_info", "pose_topic", "depth_topic") if name in source
        }
        return load_bag(path, **options).ground_truth()
    return open_sequence(path, str(source["layout"])).ground_truth()


def _describe(rules: Protocol) -> str:
    """For the help text."""
    return f"{rules.name}: {rules.summary}".replace("%", "%%")
