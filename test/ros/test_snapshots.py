"""Snapshots of the running node: what a crash, a torn file, another network and a full disk leave of the world."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from library import reconstruct, walk
from node_process import NodeProcess
from robot import Robot, image_message
from sensor_msgs.msg import Image, PointCloud2
from tiny_models import random_frames

from spann3r_ros.config import MapConfig
from spann3r_ros.mapping.recovery import SnapshotFolder
from spann3r_ros.mapping.storage import read_map
from spann3r_ros.ros.node import Spann3rNode
from spann3r_ros.ros.replay.background_node import background_node
from spann3r_ros.ros.replay.private_graph import running_node
from spann3r_ros.ros.soak.kill_run import KILL_PARAMETERS, KillReport, KillRun

Start = Callable[..., NodeProcess]
StartInside = Callable[..., Spann3rNode]


@pytest.mark.slow
@pytest.mark.fault("endurance")
@pytest.mark.fault("load is all or nothing")
def test_a_node_that_is_killed_goes_on_from_its_last_snapshot_in_the_same_world(
    domain: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))
    folder, frames = tmp_path / "snapshots", random_frames(40, (96, 72), 3)
    parameters = {**KILL_PARAMETERS, "snapshot_folder": str(folder), "checkpoint": str(checkpoint), "device": "cpu"}
    parameters["tracking.enabled"] = "false"
    with background_node("killer") as node:
        job = KillRun(
            node,
            lambda name: running_node(parameters, os.environ, tmp_path / f"{name}.log", name),
            folder,
            [frame.image for frame in frames],
            seed=random.SystemRandom().randrange(1000),
            rate=20.0,
        )
        report = job.run(2)
    logs = "\n".join(path.read_text() for path in sorted(tmp_path.glob("killed_*.log")))
    assert report.problems == [], logs
    assert (report.kills, report.equal) == (2, 2), report.line()
    assert report.line().startswith("kill -9: 2 of 2 went on from the last snapshot in the same world (")
    assert "Traceback" not in logs

    # The last map is that of the images which the snapshots have seen, as if there had been one run without an end.
    newest = SnapshotFolder(folder, "").found()[0]
    world, saved = read_map(newest, MapConfig())
    images = dict(zip(job.sent, _there_and_back(frames), strict=False))
    seen = [pose.stamp for pose in world.trajectory()]
    resumed, _ = reconstruct(checkpoint, [], tracking=False)
    resumed.load(newest)
    [owed] = resumed.flush()  # not always about the image that was sent next: a full queue drops some
    seen.append(owed.frame.stamp)
    truth = [_frame(number, stamp, images[stamp]) for number, stamp in enumerate(seen)]
    expected, _ = reconstruct(checkpoint, truth, tracking=False)  # as the node: the images show nothing
    assert saved.frames == len(expected.trajectory) >= 3
    np.testing.assert_allclose(
        np.sort(world.cloud().points, axis=0), np.sort(expected.map.cloud().points, axis=0), atol=1e-5
    )


def _there_and_back(frames: list[Any]) -> Iterator[Any]:
    while True:
        yield from frames
        yield from frames[-2:0:-1]


def _frame(index: int, stamp: int, like: Any) -> Any:
    return type(like)(index, stamp, "camera_optical_frame", like.image)


def test_the_verdict_on_kills() -> None:
    report = KillReport(kills=2, early=1, equal=1, snapshots=7, held_up=[0.001, 0.003], points=10, problems=["a"])
    assert report.line() == (
        "kill -9: 1 of 2 went on from the last snapshot in the same world (1 kills more while it started; 7 snapshots; "
        "the last map has 10 points; a snapshot held up the stream by 2.0 ms (median of the longest of each run), "
        "3.0 ms at most)"
    )


def map_frames(robot: Robot, count: int, seed: int = 3) -> None:
    """Send frames and wait for their answers."""
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in walk(count, seed):
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == count - 1, "clouds")


def snapshots_in(folder: Path) -> list[str]:
    return [path.name for path in SnapshotFolder(folder, "").found()]


@pytest.mark.fault("load is all or nothing")
def test_a_torn_newest_one_is_said_and_the_one_before_it_is_used(
    start_inside: StartInside, robot: Robot, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "snapshots"
    node = start_inside(snapshot_period=0.1, snapshot_folder=str(folder))
    map_frames(robot, 4)
    robot.wait(lambda: snapshots_in(folder), "a snapshot")
    camera = robot.publisher(Image, "/camera/image_raw")
    for frame in walk(8)[4:]:
        camera.publish(image_message(frame))
    session = node._session
    assert session is not None
    robot.wait(lambda: session.snapshot.posed_frames == 7, "all frames")
    node.close()  # which writes what came since, and lets others write
    newest, older = snapshots_in(folder)
    poses = [len(read_map(folder / name, MapConfig())[0].trajectory()) for name in (newest, older)]
    assert poses[0] == 7 and 0 < poses[1] <= 7
    memory = folder / newest / "memory.safetensors"
    memory.write_bytes(memory.read_bytes()[:-1])
    node.trigger_deactivate()
    node.trigger_cleanup()
    node._config.resume = True
    node.trigger_configure()
    session = node._session
    assert session is not None and session.snapshot.posed_frames == poses[1]
    said = capfd.readouterr().err
    assert f"the snapshot {folder / newest} is not whole and not used" in said
    assert f"resumed from {folder / older}" in said


@pytest.mark.fault("load is all or nothing")
def test_a_snapshot_of_another_network_is_refused_in_words(
    start: Start, robot: Robot, relative_checkpoint: Path, tmp_path: Path
) -> None:
    node = start(snapshot_period=0.1, snapshot_folder=str(tmp_path / "snapshots"), resume=True)
    node.wait_for_log("resume: there is no whole snapshot")
    map_frames(robot, 4)
    robot.wait(lambda: snapshots_in(tmp_path / "snapshots"), "a snapshot")
    node.kill()
    kept = {path: path.read_bytes() for path in (tmp_path / "snapshots").rglob("*.json")}
    other = start(
        ["-r", "__node:=other"],
        snapshot_period=0.1,
        snapshot_folder=str(tmp_path / "snapshots"),
        resume=True,
        checkpoint=str(relative_checkpoint),
    )
    line = other.wait_for_log("cannot start")
    assert "another network" in line and "resume to false" in line
    assert other.alive and {path: path.read_bytes() for path in kept} == kept


def diagnosis(robot: Robot, messages: list[DiagnosticArray], text: str) -> DiagnosticStatus:
    robot.wait(lambda: text in messages[-1].status[0].message, text)
    return messages[-1].status[0]


@pytest.mark.fault("words")
def test_a_folder_that_cannot_be_written_is_said_and_the_node_lives(start: Start, robot: Robot) -> None:
    node = start(snapshot_period=0.1, snapshot_folder="/proc/snapshots", resume=True, status_rate=10.0)
    messages = robot.collect(DiagnosticArray, "/diagnostics")
    map_frames(robot, 4)
    status = diagnosis(robot, messages, "no snapshot could be written to /proc/snapshots")
    assert status.level == DiagnosticStatus.ERROR and "The map goes on" in status.message
    assert node.alive and "Traceback" not in node.log
    node.wait_for_log("no snapshot could be written to /proc/snapshots")


@pytest.mark.fault("words")
def test_a_full_disk_is_said_and_the_older_snapshot_stays(start: Start, robot: Robot, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        node = start(snapshot_period=0.1, snapshot_folder=str(disk / "snapshots"), status_rate=10.0)
        messages = robot.collect(DiagnosticArray, "/diagnostics")
        map_frames(robot, 4)
        robot.wait(lambda: snapshots_in(disk / "snapshots"), "a snapshot")
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"0" * 10_000_000)
        before = snapshots_in(disk / "snapshots")
        camera = robot.publisher(Image, "/camera/image_raw")
        for frame in walk(8)[4:]:
            camera.publish(image_message(frame))
        status = diagnosis(robot, messages, "No space left on device")
        assert status.level == DiagnosticStatus.ERROR and "stays" in status.message
        assert snapshots_in(disk / "snapshots") == before
        read_map(disk / "snapshots" / before[0], MapConfig())
        assert node.alive and "Traceback" not in node.log
        filler.unlink()
        for frame in walk(12)[8:]:
            camera.publish(image_message(frame))
        node.wait_for_log("snapshots are written again")
        robot.wait(lambda: snapshots_in(disk / "snapshots") != before, "a new snapshot")
        node.kill()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_two_nodes_never_write_into_one_folder(start: Start, robot: Robot, tmp_path: Path) -> None:
    first = start(snapshot_period=0.1, snapshot_folder=str(tmp_path / "snapshots"))
    map_frames(robot, 4)
    robot.wait(lambda: snapshots_in(tmp_path / "snapshots"), "a snapshot")
    second = start(["-r", "__node:=second"], resume=True, snapshot_folder=str(tmp_path / "snapshots"))
    line = second.wait_for_log("cannot start")
    assert "has another writer: got /spann3r, process" in line
    assert first.alive and second.alive


def test_without_a_period_nothing_is_written(start_inside: StartInside, robot: Robot, tmp_path: Path) -> None:
    node = start_inside(snapshot_folder=str(tmp_path / "snapshots"))
    map_frames(robot, 4)
    node.close()
    assert not (tmp_path / "snapshots").exists()
