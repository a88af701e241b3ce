"""``merge``: saved maps of several sessions become one, where they know a common place."""

from __future__ import annotations

import argparse
from pathlib import Path

from spann3r_ros.cli.configuration import add_parameter_options, read_config
from spann3r_ros.errors import ConfigError
from spann3r_ros.merging import merge_all
from spann3r_ros.reconstruction import Reconstruction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "maps", type=Path, nargs="+", metavar="MAP", help="folders of ~/save_map, from runs with relocalizer: retrieval"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the joined map")
    add_parameter_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0 when all maps were joined; else nothing is written."""
    first, *others = arguments.maps
    if not others:
        raise ConfigError("maps to merge", got=1, expected="two or more")
    config = read_config(arguments.config, arguments.set, arguments.preset)
    config.relocalizer = "retrieval"
    reconstruction = Reconstruction.from_config(config)
    reconstruction.begin_with(first)
    for joined in merge_all(reconstruction, others):
        print(f"{joined.path}: {joined.points} points and {joined.frames} poses joined")
    saved = reconstruction.save_world(arguments.output)
    print(f"{saved.points} points, {saved.frames} poses: {saved.path}")
    return 0
