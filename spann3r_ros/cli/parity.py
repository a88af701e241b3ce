"""Compare the network with recordings of the published one; exit status 1 when it is not equal."""

from __future__ import annotations

import argparse
from pathlib import Path

from spann3r_ros.evaluation.parity_files import replay_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="weights; several files are merged")
    parser.add_argument("--config", type=Path, nargs="+", required=True, help="JSON of sizes; later files override")
    parser.add_argument("--sequence", type=Path, nargs="+", required=True, help="recordings; several are merged")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="allowed error over a tensor's maximum")


def run(arguments: argparse.Namespace) -> int:
    """Replay, print the worst error of every kind of tensor, and a line that sums it up."""
    reports = replay_files(arguments.weights, arguments.config, arguments.sequence)
    for title, report in reports.items():
        print(f"{title:24} {'worst error':>12}  {'tensors':>7}  at")
        for kind, entry in report.comparisons.items():
            print(f"{kind:24} {entry.error:12.3e}  {entry.count:7d}  {entry.place}")
        for line in report.disagreements:
            print(f"decision differs: {line}")
        if report.unknown:
            print(f"not compared, since nothing of that name is computed: {', '.join(sorted(report.unknown))}")
    error, place = max((report.worst() for report in reports.values()), key=lambda worst: worst[0])
    equal = not any(report.disagreements for report in reports.values())
    print(f"parity: worst {error:.3e} at {place}, decisions equal: {'yes' if equal else 'no'}")
    return 0 if error <= arguments.tolerance and equal else 1
