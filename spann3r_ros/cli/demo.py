"""The whole system on one walk: a bag is made, the node is started, the bag is played to it, the result is judged."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from spann3r_ros.cli.configuration import read_config
from spann3r_ros.cli.run_progress import run_with_progress
from spann3r_ros.errors import DataError, Spann3rError
from spann3r_ros.evaluation.protocol import protocol
from spann3r_ros.evaluation.report import write_report
from spann3r_ros.evaluation.run_metrics import RunMetrics
from spann3r_ros.evaluation.run_pictures import write_run_pictures
from spann3r_ros.evaluation.scores import DEFAULT_GAP, evaluate_run
from spann3r_ros.evaluation.table import as_text
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.recordings.bag_sequence import BagSequence
from spann3r_ros.recordings.bag_sequence import load as load_bag
from spann3r_ros.ros.replay.private_graph import private_environment, running_node, running_rviz
from spann3r_ros.runs.folder import OptionalFiles, RunFolder
from spann3r_ros.runs.offline import OfflineRun
from spann3r_ros.synthetic.recording import Recording
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED

DEMO_SEED = EVALUATION_SEED
POINTS = 100_000
"""Of each cloud that is compared, at most."""

NODE_PARAMETERS = {
    "image_topics": "[/camera/image_raw]",
    "queue_policy": "all",
    "cloud": "pointmap",
    "map.min_confidence": "0.5",
    "map.voxel_size": "0.04",
    "status_rate": "10.0",
    "use_sim_time": "true",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-o", "--output", type=Path, default=Path("out/demo"), help="folder of the results (out/demo)")
    parser.add_argument("--frames", type=int, default=200, help="images of the walk (200)")
    parser.add_argument("--rate", type=float, default=10.0, metavar="HZ", help="images per second (10)")
    parser.add_argument("--seed", type=int, default=DEMO_SEED, help=f"of the walk ({DEMO_SEED}, unseen in training)")
    parser.add_argument("--checkpoint", default="", help="other weights than those that ship")
    parser.add_argument(
        "--offline", action="store_true", help="without a node: every image in order, in this process (quick figures)"
    )
    parser.add_argument("--rviz", action="store_true", help="open RViz (on a machine that has it)")


def run(arguments: argparse.Namespace) -> int:
    """Make the bag, run the node on it, evaluate, draw; print where everything is."""
    began, out = time.monotonic(), arguments.output
    _prepare(out)
    recording = Recording(
        Scene.apartment(),
        arguments.frames,
        arguments.rate,
        arguments.seed,
        compressed=True,
        quality=85,
        depth="16UC1",
        tf="camera",
    )
    bag = out / "bag"
    for _ in tqdm(recording.write(bag), total=recording.frames, unit="frame", desc="recording", leave=False):
        pass
    folder, sequence = RunFolder(out), load_bag(bag)
    if arguments.offline:
        _reconstruct(sequence, out, arguments.checkpoint)
    else:
        _replay(bag, out, arguments.checkpoint, arguments.rviz)
    scores = evaluate_run(folder, sequence.ground_truth(), protocol("every", max_points=POINTS))
    report = write_report(out, [scores], "Demo: a walk through the apartment that the shipped model knows")
    write_run_pictures(folder, sequence, "demo", "The reconstructed apartment", DEFAULT_GAP)
    metrics = dataclasses.asdict(RunMetrics.of(scores))
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(as_text([scores]))
    for name, value in metrics.items():
        print(f"{name:24}{value:.4g}" if isinstance(value, float) else f"{name:24}{value}")
    print(f"\nin {out}: map.ply, trajectory.txt, {report.name}, demo.png, demo.gif, view.html (open it in a browser), ")
    print(f"metrics.json, bag; {time.monotonic() - began:.0f} s")
    return 0


def _prepare(out: Path) -> None:
    """An empty folder; only an older demo is replaced."""
    if out.exists() and any(out.iterdir()):
        if not (out / "bag").is_dir():
            raise DataError(
                f"{out} is not empty and holds no demo", expected="a new folder", next_step="Give another -o"
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


def _reconstruct(sequence: BagSequence, out: Path, checkpoint: str) -> None:
    """The walk through the model as the node's parameters have it, without a node."""
    settings = [f"{name}={value}" for name, value in NODE_PARAMETERS.items() if name.startswith("map.")]
    config = read_config(None, [*settings, f"checkpoint={checkpoint}"])
    run_with_progress(OfflineRun(sequence, Reconstruction.from_config(config), out, OptionalFiles(pointmaps=True)))


def _replay(bag: Path, out: Path, checkpoint: str, rviz: bool) -> None:
    """The bag through a node that is started for it; raises Spann3rError when that fails."""
    log = out / "node.log"
    command = [sys.executable, "-m", "spann3r_ros", "replay", str(bag), "-o", str(out), "--pointmaps"]
    with (
        private_environment(out / "log") as environment,
        running_node({**NODE_PARAMETERS, "checkpoint": f"'{checkpoint}'"}, environment, log),
        running_rviz(environment) if rviz else contextlib.nullcontext(),
    ):
        # The node loads its weights and warms up first.
        status = subprocess.run([*command, "--patience", "60"], env=environment, check=False).returncode
    if status:
        raise Spann3rError("the replay failed", got=f"exit status {status}", next_step=f"Read {log}")
