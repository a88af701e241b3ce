"""Compare our networks with recordings of the published ones; exit status 1 when they are not equal."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from spann3r_ros.errors import DataError, Spann3rError
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, found_sets, named_sets
from spann3r_ros.evaluation.parity.replay import replay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "recording", type=Path, nargs="?", help="*_config.json with its weights and recordings beside it, or a folder"
    )
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="all recordings of a folder, a line each")
    parser.add_argument("--weights", type=Path, nargs="+", default=(), help="weights; several files are merged")
    parser.add_argument("--config", type=Path, nargs="+", default=(), help="JSON of sizes; later files override")
    parser.add_argument("--sequence", type=Path, nargs="+", default=(), help="recordings; several are merged")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="allowed error over a tensor's maximum")


def run(arguments: argparse.Namespace) -> int:
    """Replay, print the worst error of every kind of tensor, and a line that sums it up."""
    worst, equal = (0.0, "nothing"), True
    if arguments.all is not None:
        print(f"{'recording':28} {'worst error':>12}  {'tensors':>7}  {'decisions':9}  at")
    for recorded in _sets(arguments):
        try:
            reports = replay(recorded)
        except Spann3rError as error:
            if arguments.all is None:
                raise
            print(f"{recorded.title:28} cannot be replayed: {error}")
            worst, equal = (math.inf, recorded.title), False
            continue
        error_found, place = max((report.worst() for report in reports.values()), key=lambda found: found[0])
        agreed = not any(report.disagreements for report in reports.values())
        if arguments.all is None:
            _print_reports(recorded, reports)
        else:
            count = sum(entry.count for report in reports.values() for entry in report.comparisons.values())
            print(f"{recorded.title:28} {error_found:12.3e}  {count:7d}  {'equal' if agreed else 'DIFFER':9}  {place}")
        worst, equal = max(worst, (error_found, place), key=lambda found: found[0]), equal and agreed
    print(f"parity: worst {worst[0]:.3e} at {worst[1]}, decisions equal: {'yes' if equal else 'no'}")
    return 0 if worst[0] <= arguments.tolerance and equal else 1


def _sets(arguments: argparse.Namespace) -> list[RecordedSet]:
    """What the command line asks for; DataError for nothing at all, or for two things at once."""
    named = bool(arguments.weights or arguments.config or arguments.sequence)
    asked = (named, arguments.recording is not None, arguments.all is not None)
    if sum(asked) != 1:
        raise DataError(
            "what to compare",
            got="nothing" if not any(asked) else "more than one way to name it",
            expected="one of: RECORDING, --all FOLDER, or --config with --weights and --sequence",
        )
    if named:
        if not arguments.config or not arguments.sequence:
            raise DataError("recording by its files", expected="--config and --sequence, and --weights of a network")
        return named_sets(arguments.weights, arguments.config, arguments.sequence, arguments.sequence[0].stem)
    place = arguments.recording if arguments.recording is not None else arguments.all
    return found_sets(place)


def _print_reports(recorded: RecordedSet, reports: dict[str, ParityReport]) -> None:
    for title, report in reports.items():
        print(f"{f'{recorded.title} {title}':40} {'worst error':>12}  {'tensors':>7}  at")
        for kind, entry in report.comparisons.items():
            own = "" if entry.allowed is None else f" (allowed {entry.allowed:g})"
            print(f"{kind:40} {entry.error:12.3e}  {entry.count:7d}  {entry.place}{own}")
        for line in report.disagreements:
            print(f"decision differs: {line}")
        if report.unknown:
            print(f"not compared, since nothing of that name is computed: {', '.join(sorted(report.unknown))}")
