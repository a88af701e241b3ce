"""``evaluate``: runs, recordings or trajectory files against the truth, into a report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from spann3r_ros.cli.configuration import add_parameter_options, read_config
from spann3r_ros.cli.measurement_options import add_measurement_options, measured_sequence
from spann3r_ros.cli.run_progress import INCOMPLETE, run_with_progress
from spann3r_ros.cli.source_options import add_source_options, positive, source_options
from spann3r_ros.errors import ConfigError
from spann3r_ros.evaluation.protocol import ALIGNMENTS, PROTOCOLS, Protocol, protocol
from spann3r_ros.evaluation.report import write_report
from spann3r_ros.evaluation.scores import Scores, evaluate_run, score_files
from spann3r_ros.evaluation.suite import Outcome, Suite, averages, extent_of, run_local, run_on_ray, world_cases
from spann3r_ros.evaluation.table import as_text, columns_as_text
from spann3r_ros.evaluation.world.case import Case
from spann3r_ros.recordings.source import open_source
from spann3r_ros.runs.chosen_model import reconstruction_for
from spann3r_ros.runs.folder import RECORD, OptionalFiles, RunFolder
from spann3r_ros.runs.offline import OfflineRun
from spann3r_ros.runs.source_truth import source_truth, trajectory_truth

if TYPE_CHECKING:
    from spann3r_ros.evaluation.shipped_model import Extent

SOURCE_DEFAULTS: dict[str, object] = {
    "layout": "auto",
    "every": None,
    "limit": 0,
    "topic": None,
    "camera_info": None,
    "pose_topic": None,
    "depth_topic": None,
}
MEASUREMENT_DEFAULTS: dict[str, object] = {"use_depth": False, "use_odometry": False, "odometry_topic": ""}
PARAMETER_DEFAULTS: dict[str, object] = {"config": None, "set": [], "preset": None}
RULES_DEFAULTS: dict[str, object] = {
    **{"protocol": "every", "alignment": None, "max_points": None, "max_gap": 0.01, "reference": None},
    "title": "Evaluation",
}
"""Options that say how recordings are read, how they are reconstructed, and what is compared, with their defaults."""

PAGE = Path("docs") / "mapping.md"
"""Where the table of the suite of kind world stands."""

TRAJECTORIES = (".txt", ".tum", ".csv", ".kitti", ".traj", ".trajectory")
"""Suffixes of trajectory files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "items",
        type=Path,
        nargs="*",
        metavar="RUN|SOURCE|TRAJECTORY",
        help="folders written by `reconstruct` or `replay`; recordings, which are reconstructed first; or "
        "trajectory files; several are put side by side",
    )
    parser.add_argument("-o", "--output", type=Path, help="folder for the report (out/evaluation, or out/SUITE)")
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
    suite = parser.add_argument_group("suite: many recordings x many configurations (docs/evaluation.md)")
    suite.add_argument("--suite", type=Path, metavar="YAML", help="run a suite instead of RUN|SOURCE|TRAJECTORY")
    suite.add_argument("--workers", type=positive, default=1, metavar="N", help="processes at a time (1)")
    suite.add_argument(
        "--write", type=Path, metavar="FOLDER", help=f"of kind world: also into {PAGE} below the package's folder"
    )
    suite.add_argument("--ray", metavar="ADDRESS", help="run the jobs on a Ray cluster; 'local' starts one")
    add_measurement_options(parser)
    add_source_options(parser)
    add_parameter_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the scores and write the report; 3 when frames are missing, 130 when Ctrl-C ended it early."""
    if arguments.output is None:
        arguments.output = Path("out") / (arguments.suite.stem if arguments.suite is not None else "evaluation")
    if arguments.suite is not None:
        said_by_file = {**RULES_DEFAULTS, **SOURCE_DEFAULTS, **MEASUREMENT_DEFAULTS}
        _refuse(arguments, "with --suite, whose file says it", said_by_file)
        if extent_of(arguments.suite) is None:
            _refuse(arguments, "with a suite, whose file names the configurations", PARAMETER_DEFAULTS)
        cases = world_cases(arguments.suite)
        if cases is not None:
            return _run_world(cases, arguments)
        extent = extent_of(arguments.suite)
        return _run_suite(arguments) if extent is None else _run_table(extent, arguments)
    _refuse(arguments, "without --suite", {"workers": 1, "ray": None, "write": None})
    if not arguments.items:
        raise ConfigError("nothing to evaluate", expected="runs, recordings or trajectories")
    if not any(map(_is_recording, arguments.items)):
        of_recordings = {**SOURCE_DEFAULTS, **MEASUREMENT_DEFAULTS, **PARAMETER_DEFAULTS}
        _refuse(arguments, "of recordings, of which none is given", of_recordings)
    rules = protocol(arguments.protocol, alignment=arguments.alignment, max_points=arguments.max_points)
    scores: list[Scores] = []
    incomplete = False
    for item in arguments.items:
        scores.append(_score(item, rules, arguments))
        incomplete |= _is_recording(item) and scores[-1].record.missing > 0
        if not scores[-1].quality.finished:
            break
    report = write_report(arguments.output, scores, arguments.title, not arguments.no_plots)
    print(as_text(scores))
    print(f"report: {report}")
    if not scores[-1].quality.finished:
        return 130
    return INCOMPLETE if incomplete else 0


def _run_world(cases: list[Case], arguments: argparse.Namespace) -> int:
    """Print the table of a world of many submaps; 1 when a case missed or failed."""
    _refuse(arguments, "with a suite of kind world", {"items": [], "ray": None})
    from spann3r_ros.cli.world import print_world  # which needs the renderer

    page = arguments.write and arguments.write / PAGE
    return print_world(cases, arguments.output, page, arguments.workers)


def _run_table(extent: Extent, arguments: argparse.Namespace) -> int:
    """Print the table of the model that ships."""
    if arguments.items:
        raise ConfigError("a suite names its own recordings", got=", ".join(map(str, arguments.items)))
    _refuse(arguments, "with a suite of another kind than world", {"write": None})
    from spann3r_ros.cli.embedded import print_table  # which needs the renderer

    print_table(read_config(arguments.config, arguments.set, arguments.preset), extent, arguments.output)
    return 0


def _run_suite(arguments: argparse.Namespace) -> int:
    """Print a line for each job and the means, and write the joint report; 1 when a job failed."""
    if arguments.items:
        raise ConfigError("a suite names its own recordings", got=", ".join(map(str, arguments.items)))
    _refuse(arguments, "with a suite of another kind than world", {"write": None})
    suite = Suite.read(arguments.suite, arguments.output)
    suite.make_walks()
    jobs = suite.jobs(arguments.output, arguments.workers)
    outcomes: list[Outcome] = []
    running = run_on_ray(jobs, arguments.ray) if arguments.ray else run_local(jobs, arguments.workers)
    for outcome in tqdm(running, total=len(jobs), unit="job", dynamic_ncols=True):
        outcomes.append(outcome)
    outcomes.sort(key=lambda outcome: jobs.index(outcome.job))
    failures = [f"{outcome.job.name}: {outcome.failure}" for outcome in outcomes if outcome.scores is None]
    scores = [outcome.scores for outcome in outcomes if outcome.scores is not None]
    names, means = averages(outcomes)
    report = write_report(
        arguments.output, scores, suite.title, not arguments.no_plots, summary=(names, means), failures=failures
    )
    print(columns_as_text(names, [means]))
    print("\n".join(f"failed: {failure}" for failure in failures) + "\n" * bool(failures) + f"report: {report}")
    return 1 if failures else 0


def _score(item: Path, rules: Protocol, arguments: argparse.Namespace) -> Scores:
    """Scores of one item of the command line."""
    max_gap = round(arguments.max_gap * 1e9)
    if _is_trajectory(item):
        if arguments.reference is None:
            raise ConfigError("trajectory file without a truth", got=str(item), next_step="Give --reference FILE")
        return score_files(item, arguments.reference, rules, max_gap)
    folder = _reconstruct(item, rules, arguments) if _is_recording(item) else RunFolder(item)
    truth = trajectory_truth(arguments.reference) if arguments.reference else source_truth(folder.record())
    return evaluate_run(folder, truth, rules, max_gap)


def _reconstruct(source: Path, rules: Protocol, arguments: argparse.Namespace) -> RunFolder:
    """A run over a recording, in the report's folder."""
    config = read_config(arguments.config, arguments.set, arguments.preset)
    sequence = measured_sequence(open_source(source_options(source, vars(arguments))), config, vars(arguments))
    folder = arguments.output / sequence.name.replace("/", "_")
    job = OfflineRun(
        sequence,
        reconstruction_for(sequence, config),
        folder,
        OptionalFiles(pointmaps=True),
        every=arguments.every or rules.stride(sequence.layout),
        limit=arguments.limit,
    )
    run_with_progress(job)
    return RunFolder(folder)


def _is_trajectory(item: Path) -> bool:
    return item.is_file() and item.suffix.lower() in TRAJECTORIES


def _is_recording(item: Path) -> bool:
    return not _is_trajectory(item) and not (item / RECORD).exists()


def _refuse(arguments: argparse.Namespace, where: str, defaults: Mapping[str, object]) -> None:
    """Raise ConfigError for options that were given and would be ignored."""
    given = [name for name, default in defaults.items() if getattr(arguments, name) != default]
    if given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ConfigError(f"options {where}", got=names, expected="none of them", next_step="Leave them out")


def _describe(rules: Protocol) -> str:
    """For the help text."""
    return f"{rules.name}: {rules.summary}".replace("%", "%%")
