"""`replay` against the real node over DDS, each in a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from node_process import ROOT, NodeProcess
from wall_network import HEIGHT, WIDTH

from spann3r_ros.cli.run_progress import INCOMPLETE
from spann3r_ros.config import Config, from_mapping
from spann3r_ros.files.ply import read_ply
from spann3r_ros.files.tum import read_camera_path
from spann3r_ros.frame import Intrinsics
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.recordings.bag_sequence import load
from spann3r_ros.recordings.bag_writer import BagWriter
from spann3r_ros.runs.record import RunRecord

START, STEP = 1_700_000_000 * 10**9, 100_000_000
CAMERA = Intrinsics(55.0, 55.0, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, WIDTH, HEIGHT)

PATIENT = ("--patience", "60")
"""For a machine that is slow to start a node; the wait ends as soon as the node is there."""


def write_bag(path: Path, count: int, topic: str = "/camera") -> Path:
    rng = np.random.default_rng(3)
    with BagWriter(path) as bag:
        for number in range(count):
            stamp = START + number * STEP
            image = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (WIDTH, HEIGHT))
            bag.camera_info(f"{topic}/camera_info", stamp, "camera_optical_frame", CAMERA)
            bag.image(f"{topic}/image_raw", stamp, "camera_optical_frame", image)
    return path


def replay(domain: int, bag: Path, out: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "spann3r_ros", "replay", str(bag), "-o", str(out), *options]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


def finish(process: "subprocess.Popen[str]", status: int = 0) -> tuple[str, str]:
    printed, errors = process.communicate(timeout=200)
    assert process.returncode == status, printed + errors
    return printed, errors


@pytest.mark.fault("recordings", case="02")
def test_what_is_whole_of_a_torn_bag_is_played_and_the_status_says_that_there_was_more(
    start: Callable[..., NodeProcess], domain: int, tmp_path: Path
) -> None:
    bag, out = write_bag(tmp_path / "bag", 12), tmp_path / "out"
    (file,) = bag.glob("*.mcap")
    os.truncate(file, file.stat().st_size * 6 // 10)
    start(use_sim_time=True, status_rate=10.0)
    printed, _ = finish(replay(domain, bag, out, "--wait", *PATIENT), status=INCOMPLETE)
    record = RunRecord.read(out / "run.json")
    assert record.finished and record.missing == 12 - record.offered == 5
    assert f"incomplete: the source promised {record.missing} more frames" in printed


def test_waiting_loses_nothing_and_equals_the_library(
    start: Callable[..., NodeProcess], domain: int, checkpoint: Path, tmp_path: Path
) -> None:
    bag, out = write_bag(tmp_path / "bag", 12), tmp_path / "out"
    start(use_sim_time=True, queue_policy="latest", map__min_confidence=0.1, status_rate=10.0)
    printed, _ = finish(replay(domain, bag, out, "--wait", *PATIENT))
    assert "11 frames at" in printed

    reconstruction = Reconstruction.from_config(
        from_mapping(Config, {"checkpoint": str(checkpoint), "device": "cpu", "map.min_confidence": 0.1})
    )
    answers = [answer for frame in load(bag).frames() for answer in reconstruction.process(frame)]
    record = RunRecord.read(out / "run.json")
    assert record.finished and record.mode == "replay"
    assert record.offered == 12 and record.dropped == 0 and record.resets == 0
    assert record.skipped == {} and record.owed == 1
    assert record.peak_memory_bytes is None
    assert record.frames.stamp == [answer.frame.stamp for answer in answers]
    np.testing.assert_allclose(record.frames.confidence, [answer.confidence.mean() for answer in answers], atol=1e-5)
    assert all(seconds is not None and seconds > 0 for seconds in record.frames.seconds)
    assert record.parameters["map.min_confidence"] == 0.1 and record.metric
    assert max(record.frames.tokens) > 0
    expected = {answer.frame.stamp: answer.world_from_camera for answer in answers}
    path = read_camera_path(out / "trajectory.txt")
    assert len(path) == sum(pose is not None for pose in expected.values())
    for index, stamp in enumerate(path.stamps.tolist()):
        pose = expected[stamp]
        assert pose is not None
        np.testing.assert_allclose(path.pose(index).matrix(), pose.matrix(), atol=1e-6)
    cloud, expected_cloud = read_ply(out / "map.ply"), reconstruction.map.cloud()
    assert len(cloud) == len(expected_cloud) == record.points > 100
    order, expected_order = (np.lexsort(points.T) for points in (cloud.points, expected_cloud.points))
    np.testing.assert_allclose(cloud.points[order], expected_cloud.points[expected_order], atol=1e-5)


@pytest.mark.slow
def test_rate_and_remapping(start: Callable[..., NodeProcess], domain: int, tmp_path: Path) -> None:
    bag, out = write_bag(tmp_path / "bag", 11, topic="/front"), tmp_path / "out"
    start(use_sim_time=True, status_rate=10.0).wait_for_log("configured")
    _, errors = finish(replay(domain, bag, tmp_path / "nothing", "--patience", "3"), status=2)
    assert "nobody subscribes to /front/image_raw" in errors and "--remap" in errors
    remaps = ["--remap", "/front/image_raw:=/camera/image_raw", "--remap", "/front/camera_info:=/camera/camera_info"]
    finish(replay(domain, bag, out, "--rate", "2", *remaps, *PATIENT))
    record = RunRecord.read(out / "run.json")
    assert record.finished and record.offered == 11
    assert len(record.frames) == 10
    assert record.seconds > 0.5  # one second of recording at twice its speed
    assert record.rate() == pytest.approx(10 / record.seconds)
    assert record.source["rate"] == 2.0


def test_ctrl_c_keeps_what_came(start: Callable[..., NodeProcess], domain: int, tmp_path: Path) -> None:
    bag, out = write_bag(tmp_path / "bag", 300), tmp_path / "out"
    start(use_sim_time=True, status_rate=10.0)
    process = replay(domain, bag, out, *PATIENT)
    assert process.stderr is not None
    bar = ""
    while not re.search(r" ([5-9]|\d\d+)/300", bar):  # the progress bar
        bar += (read := process.stderr.read(1))
        assert read, bar
    process.send_signal(signal.SIGINT)
    printed, _ = finish(process, status=130)
    assert "ended early" in printed
    record = RunRecord.read(out / "run.json")
    assert not record.finished and 0 < record.offered < 300
    assert len(read_camera_path(out / "trajectory.txt")) > 0


def test_without_a_node(domain: int, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", 2)
    _, errors = finish(replay(domain, bag, tmp_path / "out", "--patience", "0.5"), status=2)
    assert "node /spann3r does not answer" in errors and "Traceback" not in errors


@pytest.mark.parametrize(("option", "message"), [("--rate=0", "expected > 0"), ("--remap=/a", "FROM:=TO")])
def test_refusals(option: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from spann3r_ros.cli.main import main

    bag = write_bag(tmp_path / "bag", 2)
    assert main(["replay", str(bag), "-o", str(tmp_path / "out"), option]) == 2
    assert message in capsys.readouterr().err
