"""The whole system on one walk: a bag is made, the node is started, the bag is played to it, the result is judged."""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from spann3r_ros.errors import ConfigError, DataError, Spann3rError
from spann3r_ros.evaluation.pointmap_errors import paired_points
from spann3r_ros.evaluation.protocol import protocol
from spann3r_ros.evaluation.report import write_report
from spann3r_ros.evaluation.scores import Scores, evaluate_run
from spann3r_ros.evaluation.table import as_text
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.pictures.side_by_side import Scenery, beside, write_growing_map
from spann3r_ros.pictures.viewer import write_viewer
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.recordings.bag_sequence import load as load_bag
from spann3r_ros.recordings.sequence import GroundTruth, Sequence
from spann3r_ros.runs.folder import RunFolder, StoredPointmap
from spann3r_ros.synthetic.recording import Recording
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED

DEMO_SEED = EVALUATION_SEED
MAX_GAP = 10_000_000
"""Nanoseconds between an image and its true pose and depth."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-o", "--output", type=Path, default=Path("out/demo"), help="folder of the results (out/demo)")
    parser.add_argument("--frames", type=int, default=200, help="images of the walk (200)")
    parser.add_argument("--rate", type=float, default=10.0, metavar="HZ", help="images per second (10)")
    parser.add_argument("--seed", type=int, default=DEMO_SEED, help=f"of the walk ({DEMO_SEED}, unseen in training)")
    parser.add_argument("--checkpoint", default="", help="other weights than those that ship")
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
    with _graph(out) as environment, _node(arguments, environment, out / "node.log"), _rviz(arguments, environment):
        replay = [sys.executable, "-m", "spann3r_ros", "replay", str(bag), "-o", str(out), "--pointmaps"]
        # The node loads its weights and warms up first.
        status = subprocess.run([*replay, "--patience", "60"], env=environment, check=False).returncode
    if status:
        raise Spann3rError("the replay failed", got=f"exit status {status}", next_step=f"Read {out / 'node.log'}")

    folder, sequence = RunFolder(out), load_bag(bag)
    truth = sequence.ground_truth()
    scores = evaluate_run(folder, truth, protocol("every", max_points=100_000), MAX_GAP)
    report = write_report(out, [scores], "Demo: a walk through the apartment that the shipped model knows")
    _draw(out, folder, sequence)
    metrics = _metrics(scores, folder)
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


@contextmanager
def _graph(out: Path) -> Iterator[dict[str, str]]:
    """The environment of a ROS graph of our own, on the loopback, so that nothing else on the network takes part."""
    profile = _profile()
    environment = {
        **os.environ,
        # Below 32 a robot nearby might live; above 101 ports may be taken.
        "ROS_DOMAIN_ID": str(random.SystemRandom().randint(32, 101)),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str((out / "log").resolve()),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    if profile is not None:
        environment["FASTDDS_DEFAULT_PROFILES_FILE"] = str(profile)
        # Fast DDS 2 reads the older name; Fast DDS 3 complains of it.
        if os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy"):
            environment["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(profile)
    yield environment


def _profile() -> Path | None:
    """The Fast DDS profile for the loopback: beside the code in a checkout, in the share folder when installed."""
    package = Path(str(importlib.resources.files("spann3r_ros")))
    places = [package.parent] + [parent / "share" / "spann3r_ros" for parent in package.parents]
    return next((p for place in places if (p := place / "config" / "fastdds_loopback.xml").is_file()), None)


@contextmanager
def _node(arguments: argparse.Namespace, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """The node, as `ros2 run` would start it; SIGINT ends it."""
    parameters = {
        "image_topics": "[/camera/image_raw]",
        "queue_policy": "all",
        "cloud": "pointmap",
        "map.min_confidence": "0.5",
        "map.voxel_size": "0.04",
        "status_rate": "10.0",
        "use_sim_time": "true",
        "checkpoint": f"'{arguments.checkpoint}'",
    }
    command = [sys.executable, "-m", "spann3r_ros.ros.node", "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    with log.open("w") as file, subprocess.Popen(command, env=environment, stdout=file, stderr=file) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _rviz(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Iterator[None]:
    """RViz for as long as the demo lasts, when it was asked for."""
    if not arguments.rviz:
        yield
        return
    program, profile = shutil.which("rviz2"), _profile()
    if program is None or profile is None:
        raise ConfigError("--rviz", got="no rviz2 on the PATH", expected="a machine with RViz, its ROS sourced")
    with subprocess.Popen([program, "-d", str(profile.with_name("spann3r.rviz"))], env=environment) as process:
        try:
            yield
        finally:
            process.terminate()


def _draw(out: Path, folder: RunFolder, sequence: Sequence) -> None:
    """demo.png, demo.gif and view.html, the reconstruction brought onto the truth by the best similarity."""
    truth = sequence.ground_truth()
    assert truth is not None and truth.trajectory is not None
    pointmaps = list(folder.pointmaps())
    pairs = paired_points(pointmaps, truth, MAX_GAP, per_frame=2000)
    first = truth.trajectory.at(pointmaps[0].stamp, MAX_GAP)
    assert first is not None
    true_from_found = first @ umeyama(pairs.predicted, pairs.true) @ ROS_FROM_OPTICAL.inverse()
    true_cloud = _true_cloud(sequence, truth)
    true_path = [truth.trajectory.pose(index) for index in range(len(truth.trajectory))]
    estimate = folder.camera_path()
    path = [true_from_found.carry(estimate.pose(index)) for index in range(len(estimate))]
    found = folder.cloud().transformed(true_from_found)
    picture = beside(found, true_cloud, path, true_path, ("reconstructed", "true"))
    if not cv2.imwrite(str(out / "demo.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise DataError("picture cannot be written", got=out / "demo.png")
    least = folder.record().parameters["map.min_confidence"]
    clouds = (_confident(pointmap, least).transformed(true_from_found) for pointmap in pointmaps)
    write_growing_map(out / "demo.gif", clouds, path, Scenery(true_cloud), every=4)
    write_viewer(out / "view.html", found, path, "The reconstructed apartment")


def _true_cloud(sequence: Sequence, truth: GroundTruth, stride: int = 5) -> PointCloud:
    """Every ``stride``-th pixel of all images at its true depth, in the true world."""
    assert truth.trajectory is not None
    points, colors = [], []
    for frame in sequence.frames():
        depth, pose = truth.depth_at(frame.stamp, MAX_GAP), truth.trajectory.at(frame.stamp, MAX_GAP)
        if depth is None or pose is None or depth.intrinsics is None:
            continue
        seen = backproject(depth.depth, depth.intrinsics)[::stride, ::stride]
        known = np.isfinite(seen).all(axis=2)
        points.append(pose.apply(seen[known]))
        colors.append(frame.image[::stride, ::stride][known])
    found = np.concatenate(points).astype(np.float32)
    return PointCloud(found, np.concatenate(colors), np.ones(len(found), np.float32))


def _confident(pointmap: StoredPointmap, min_confidence: float) -> PointCloud:
    """The points of a pointmap that may enter a map."""
    keep = np.isfinite(pointmap.points).all(axis=-1) & (pointmap.confidence >= min_confidence)
    return PointCloud(pointmap.points[keep], pointmap.colors[keep], pointmap.confidence[keep])


def _metrics(scores: Scores, folder: RunFolder) -> dict[str, Any]:
    """The figures of the demo by name; lengths over lengths, times in milliseconds."""
    quality, record = scores.quality, folder.record()
    latency = quality.latency_ms or (float("nan"),) * 3
    return {
        "frames": quality.offered,
        "frames_lost": quality.dropped + sum(n for why, n in quality.skipped.items() if "owes" not in why),
        "frames_posed": quality.posed,
        "rate_hz": quality.frames_per_second,
        "latency_p50_ms": latency[0],
        "latency_p95_ms": latency[1],
        "pointmap_error_raw": scores.pointmaps.raw_median if scores.pointmaps else None,
        "pointmap_error_sim3": scores.pointmaps.sim3_median if scores.pointmaps else None,
        "ate_over_path": scores.sim3.ate.rmse / scores.path_length if scores.sim3 and scores.path_length else None,
        "points": record.points,
        "weights": record.weights.get("description"),
    }
