"""``soak``: the real node with a synthetic camera, and every fault that a robot can have, at random."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spann3r_ros.cli.source_options import positive
from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.ros.replay.private_graph import private_environment, running_node
from spann3r_ros.synthetic.pinhole import synthetic_camera
from spann3r_ros.synthetic.renderer import Renderer
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories

if TYPE_CHECKING:
    from spann3r_ros.ros.soak.soak_run import SoakRun

WIDTH, HEIGHT = 320, 240


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-o", "--output", type=Path, default=Path("out/soak"), help="folder of logs (out/soak)")
    parser.add_argument("--duration", type=float, default=60.0, metavar="S", help="seconds with faults (60)")
    parser.add_argument("--seed", type=int, default=0, help="of the faults (0)")
    parser.add_argument("--rate", type=float, default=10.0, metavar="HZ", help="good images per second (10)")
    parser.add_argument(
        "--images", type=positive, default=60, metavar="N", help="images of the walk there and back (60)"
    )
    parser.add_argument("--checkpoint", default="", help="other weights than those that ship")
    parser.add_argument(
        "--kills",
        type=positive,
        metavar="N",
        help="instead of faults, kill -9 the node N times at random moments, and see each time whether it goes on from "
        "its last snapshot in the same world",
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0 when the node stood it, 1 when not; the last line says so."""
    if not (arguments.duration > 0 and 0 < arguments.rate <= 1000):
        raise ConfigError(
            "--duration and --rate", got=(arguments.duration, arguments.rate), expected="> 0 s and 0 .. 1000 Hz"
        )
    out: Path = arguments.output
    _prepare(out)
    with private_environment(out / "log") as environment:
        os.environ.update(environment)  # this process takes part in that graph, too, so before ROS is loaded
        return _soak(arguments, out / "node.log", environment)


def _soak(arguments: argparse.Namespace, log: Path, environment: Mapping[str, str]) -> int:
    try:
        from spann3r_ros.ros.replay.background_node import background_node
        from spann3r_ros.ros.soak.kill_run import KILL_PARAMETERS
        from spann3r_ros.ros.soak.soak_run import NODE_PARAMETERS, SoakRun
    except ImportError as error:
        raise ConfigError(
            "soak needs ROS 2 and the package's messages",
            got=error,
            next_step="Source your workspace or run `make setup`",
        ) from error
    intrinsics, renderer = synthetic_camera(WIDTH, HEIGHT), Renderer(Scene.apartment())
    walk = Trajectories(Scene.apartment()).walk(EVALUATION_SEED, arguments.images, arguments.rate)
    images = [renderer.render(pose, intrinsics).image for pose in tqdm(walk, desc="rendering", leave=False)]
    parameters = {
        "checkpoint": f"'{arguments.checkpoint}'",
        **(KILL_PARAMETERS if arguments.kills else NODE_PARAMETERS),
    }
    if arguments.kills:
        return _kill(arguments.kills, parameters, images, log.parent, environment, arguments.seed, arguments.rate)
    with running_node(parameters, environment, log) as process, background_node("spann3r_soak") as node:
        job = SoakRun(node, process, log, images, intrinsics, arguments.seed, arguments.rate)
        return _throw(job, arguments.duration, log, arguments.seed)


def _throw(job: SoakRun, duration: float, log: Path, seed: int) -> int:
    """Throw faults for so many seconds, and print what came of it; 1 when there were problems."""
    with tqdm(total=duration, unit="s", leave=False, bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s") as bar:
        report = job.run(duration, lambda seconds: bar.update(seconds - bar.n) and None)
    for name, count in sorted(report.faults.items()):
        print(f"{count:6d} x {name.replace('_', ' ')}")
    for problem in report.problems:
        print(f"problem: {problem}")
    print(f"the node's log is {log}; --seed {seed} throws the same faults again")
    print(report.line())
    return 1 if report.problems else 0


def _kill(
    count: int,
    parameters: Mapping[str, str],
    images: Sequence[NDArray[np.uint8]],
    out: Path,
    environment: Mapping[str, str],
    seed: int,
    rate: float,
) -> int:
    """Kill the node so many times; exit status 0 when it went on from its last snapshot each time."""
    from spann3r_ros.ros.replay.background_node import background_node
    from spann3r_ros.ros.soak.kill_run import KillRun

    folder = out / "snapshots"
    own = {**parameters, "snapshot_folder": str(folder)}

    def start(name: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return running_node(own, environment, out / f"{name}.log", name)

    with background_node("spann3r_soak") as node, tqdm(total=count + 1, unit="run", leave=False) as bar:
        report = KillRun(node, start, folder, images, seed, rate).run(count, lambda: bar.update() and None)
    for problem in report.problems:
        print(f"problem: {problem}")
    print(report.line())
    return 1 if report.problems else 0


def _prepare(out: Path) -> None:
    """An empty folder; only an older soak is replaced."""
    if out.exists() and any(out.iterdir()):
        names = {entry.name for entry in out.iterdir() if not re.fullmatch(r"killed_\d+\.log", entry.name)}
        if not names <= {"node.log", "log", "snapshots"}:
            raise DataError(
                f"{out} holds something else than an older soak", expected="a new folder", next_step="Give another -o"
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
