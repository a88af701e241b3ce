"""``replay``: plays a bag into a running node over DDS and records its results."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from spann3r_ros.cli.run_progress import interruptible, status, summary
from spann3r_ros.cli.source_options import positive
from spann3r_ros.errors import ConfigError
from spann3r_ros.recordings.bag_sequence import load
from spann3r_ros.runs.folder import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder or file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder for the results")
    parser.add_argument("--node", default="/spann3r", metavar="NAME", help="the running node (/spann3r)")
    parser.add_argument("--topic", help="image topic of the bag; needed when it has several")
    parser.add_argument(
        "--remap", action="append", default=[], metavar="FROM:=TO", help="topic of the bag:=topic to play on"
    )
    parser.add_argument("--rate", type=float, default=1.0, metavar="FACTOR", help="times the recorded speed (1)")
    parser.add_argument(
        "--wait",
        action="store_true",
        help="as fast as the node takes images, none lost; the node needs queue_policy all",
    )
    parser.add_argument(
        "--pointmaps",
        action="store_true",
        help="keep every frame's ~/cloud for `evaluate`; the node needs cloud pointmap",
    )
    parser.add_argument("--no-clock", action="store_true", help="do not publish /clock")
    parser.add_argument("--limit", type=positive, default=0, metavar="N", help="stop after N images")
    parser.add_argument("--patience", type=float, default=10.0, metavar="S", help="seconds to wait for the node (10)")


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0, 3 when frames are missing, or 130 when Ctrl-C ended it early.

    What came until then is on disk either way.
    """
    try:
        import spann3r_ros.msg  # noqa: F401
        from spann3r_ros.ros.replay.background_node import background_node
        from spann3r_ros.ros.replay.replay_run import ReplayOptions, ReplayRun
    except ImportError as error:
        raise ConfigError(
            "replay needs ROS 2 and the package's messages",
            got=error,
            next_step="Source your workspace or run `make setup`; `reconstruct` reads bags without ROS",
        ) from error
    options = ReplayOptions(
        node=arguments.node,
        remap=dict(remapping(text) for text in arguments.remap),
        rate=arguments.rate,
        wait=arguments.wait,
        clock=not arguments.no_clock,
        limit=arguments.limit,
        pointmaps=arguments.pointmaps,
        patience=arguments.patience,
    )
    sequence = load(arguments.bag, topic=arguments.topic)
    folder = RunFolder(arguments.output)
    folder.create()
    with background_node("spann3r_replay") as node, interruptible() as interrupted:
        job = ReplayRun(sequence, node, folder, options)
        with tqdm(total=job.expected, unit="image", dynamic_ncols=True) as bar:
            record = job.run(lambda: bar.update() and None, lambda: bool(interrupted))
    print(summary(record, arguments.output))
    return status(record)


def remapping(text: str) -> tuple[str, str]:
    """Both names of ``FROM:=TO``; raises ConfigError for another text."""
    source, separator, target = text.partition(":=")
    if not (source and separator and target):
        raise ConfigError("--remap", got=text, expected="FROM:=TO")
    return source, target
