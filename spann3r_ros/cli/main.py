"""The command line: one module of this folder per subcommand, imported only when it is asked for.

Such a module has ``add_arguments(parser)`` and ``run(arguments) -> int`` (the exit status).
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from spann3r_ros import __version__
from spann3r_ros.errors import INSTALL, Spann3rError, missing_module

SUBCOMMANDS = {
    "demo": "run the node on a walk through the apartment that ships, evaluate and draw the result",
    "reconstruct": "turn images, a video, a dataset or a bag into a map and a trajectory",
    "localize": "tell where each image of a recording was taken, in a saved map or in the one scene of a relocalizer",
    "merge": "join saved maps of several sessions that know a common place",
    "loops": "list the images of a recording that show a place again, by a network that recognizes places",
    "replay": "play a bag into a running node and record its results",
    "evaluate": "compare runs, recordings or trajectories with the truth, and write a report",
    "embedded": "measure how good the model that ships is",
    "convert": "turn a dataset, images or a video into a bag with ground truth",
    "view": "make a page that shows a map in a browser",
    "models": "list, fetch and check the weights of networks",
    "make_bag": "record a walk through a synthetic scene as a rosbag2 with ground truth",
    "export": "write the stages of a network as ONNX, for ONNX Runtime (backend: onnxruntime)",
    "train": "train a network from nothing or from existing weights, in a synthetic scene or on recordings",
    "parameters": "list the parameters of the node, or write them as YAML and Markdown",
    "parity": "replay recorded network activations through the model and compare every tensor",
    "soak": "throw every fault of a robot at the running node, at random, and see whether it stands",
    "bench": "measure speed and memory on this machine",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; errors that the user can act on are one line on stderr and exit status 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="spann3r_ros", description="Dense 3D maps from camera images.")
    parser.add_argument("--version", action="version", version=f"spann3r_ros {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what happens")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    place = next((place for place, word in enumerate(argv) if not word.startswith("-")), None)
    chosen = None
    if place is not None:
        chosen = argv[place] = argv[place].replace("-", "_")  # make-bag is make_bag
    module = None
    for name, summary in SUBCOMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        if name == chosen:
            try:
                module = importlib.import_module(f"spann3r_ros.cli.{name}")
            except ImportError as error:
                if (error.name or "").partition(".")[0] not in INSTALL:
                    raise
                print(f"spann3r_ros {name}: {missing_module(error)}", file=sys.stderr)
                return 2
            module.add_arguments(command)
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING, format="%(levelname)s: %(message)s"
    )
    assert module is not None
    try:
        status: int = module.run(arguments)
    except Spann3rError as error:
        print(f"spann3r_ros {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return status
