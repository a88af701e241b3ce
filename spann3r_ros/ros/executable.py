"""The executable ``spann3r``: the node, or what is missing to run it."""

from __future__ import annotations


def main() -> int:
    """Run the node; where ROS 2 or the package's messages are missing, end with what to do about it."""
    try:
        from spann3r_ros.ros.node import main as run_node
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "spann3r_ros" and "msg" not in str(error):
            raise
        raise SystemExit(
            f"spann3r needs ROS 2 and the messages of this package ({error}). Source your workspace "
            "(`source install/setup.bash`), or run `make setup` in a checkout and then `scripts/run.sh spann3r`. "
            "Without ROS: `spann3r_ros reconstruct`"
        ) from error
    return run_node()
