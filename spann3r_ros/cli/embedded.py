"""``embedded``: how good the model that ships is, as a table."""

from __future__ import annotations

import argparse
from pathlib import Path

from spann3r_ros.cli.configuration import add_parameter_options, read_config
from spann3r_ros.config import Config
from spann3r_ros.evaluation.shipped_model import FIGURES, Extent, evaluate, write_table
from spann3r_ros.streaming.stream import load_stream


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    usual = Extent()
    parser.add_argument("--clips", type=int, default=usual.clips, metavar="N", help=f"five-frame clips ({usual.clips})")
    parser.add_argument("--walks", type=int, default=usual.walks, metavar="N", help=f"walks ({usual.walks})")
    parser.add_argument("--frames", type=int, default=usual.frames, metavar="N", help=f"of a walk ({usual.frames})")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/embedded"), help="folder (out/embedded)")
    add_parameter_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    print_table(
        read_config(arguments.config, arguments.set, arguments.preset),
        Extent(arguments.clips, arguments.walks, arguments.frames),
        arguments.output,
    )
    return 0


def print_table(config: Config, extent: Extent, folder: Path) -> None:
    """Print the table of a configuration's model, and keep all its figures in a folder."""
    table = write_table(evaluate(load_stream, config, extent), folder)
    print(f"{table}figures of every sequence: {folder / FIGURES}")
