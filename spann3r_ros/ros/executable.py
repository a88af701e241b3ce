"""The executable ``spann3r``: the node, its help and version, or what is missing to run it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from spann3r_ros import __version__
from spann3r_ros.errors import missing_module

EXAMPLES = """\
The node takes the arguments of ROS:
  spann3r --ros-args -p image_topics:="['/camera/image_raw']" -p checkpoint:=/models/spann3r.pth
  spann3r --ros-args --params-file config/spann3r.yaml -r __ns:=/robot1
`spann3r_ros parameters` lists the parameters, docs/parameters.md explains them. Without ROS: `spann3r_ros reconstruct`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; where something is missing to import it, end with the line that installs it."""
    parser = argparse.ArgumentParser(
        prog="spann3r",
        usage="spann3r [-h] [--version] [--ros-args ...]",
        description="The ROS 2 node: camera topics in, dense colored map out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"spann3r_ros {__version__}")
    parser.parse_args(_without_ros(sys.argv[1:] if argv is None else argv))
    try:
        from spann3r_ros.ros.node import main as run_node
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "spann3r_ros" and "msg" not in str(error):
            raise
        raise SystemExit(f"spann3r cannot start: {missing_module(error)}") from error
    return run_node()


def _without_ros(words: Sequence[str]) -> list[str]:
    """The arguments that are not between ``--ros-args`` and ``--``."""
    own, is_ros = [], False
    for word in words:
        if word == "--ros-args":
            is_ros = True
        elif is_ros and word == "--":
            is_ros = False
        elif not is_ros:
            own.append(word)
    return own
