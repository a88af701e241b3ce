"""From unconfigured to the end, what can go wrong at the start, and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from library import reconstruct, walk
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState
from node_process import ROOT, NodeProcess
from rcl_interfaces.msg import Parameter, ParameterValue, SetParametersResult
from rcl_interfaces.srv import SetParameters
from robot import Robot, image_message
from sensor_msgs.msg import Image, PointCloud2
from spann3r_ros.msg import ReconstructionStatus
from spann3r_ros.srv import LoadMap
from std_srvs.srv import Trigger

from spann3r_ros.ros.node import READY

Start = Callable[..., NodeProcess]


def state(robot: Robot) -> str:
    return str(robot.call(GetState, "/spann3r/get_state").current_state.label)


def set_text(robot: Robot, name: str, value: str) -> SetParametersResult:
    parameter = Parameter(name=name, value=ParameterValue(type=4, string_value=value))
    return robot.call(SetParameters, "/spann3r/set_parameters", SetParameters.Request(parameters=[parameter])).results[
        0
    ]


def test_the_whole_life(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames = walk(8)
    _, expected = reconstruct(checkpoint, frames)
    # Launch files wait for the line that says so, whatever else shall be logged.
    node = start(["--log-level", "error", "--log-level", "spann3r.ready:=info"], autostart=False, status_rate=30.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    robot.synchronize()
    assert state(robot) == "unconfigured"
    refused = robot.call(Trigger, "/spann3r/reset")
    assert not refused.success and "not configured" in refused.message and "ros2 lifecycle set" in refused.message
    assert not robot.call(LoadMap, "/spann3r/load_map", LoadMap.Request(path="/tmp/x")).success
    assert set_text(robot, "device", "cpu").successful

    assert robot.change_state(Transition.TRANSITION_CONFIGURE)
    assert state(robot) == "inactive"
    robot.wait(lambda: statuses[-1].state == "inactive", "the status")
    locked = set_text(robot, "device", "auto")
    assert not locked.successful and "'device' is read-only while the node is configured" in locked.reason
    assert not robot.call(Trigger, "/spann3r/pause").success, "there is nothing to pause"
    assert robot.node.count_subscribers("/camera/image_raw") == 0

    assert robot.change_state(Transition.TRANSITION_ACTIVATE)
    node.wait_for_log(f"[spann3r.ready]: {READY}camera/image_raw")
    camera = robot.publisher(Image, "/camera/image_raw")
    for frame in frames[:4]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 3, "three clouds")

    assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
    robot.wait(lambda: camera.get_subscription_count() == 0, "no subscription")
    camera.publish(image_message(frames[4]))
    robot.wait(lambda: statuses[-1].state == "inactive" and statuses[-1].points > 0, "the map, which stays")

    assert robot.change_state(Transition.TRANSITION_ACTIVATE)
    robot.wait(lambda: camera.get_subscription_count() == 1, "the subscription again")
    for frame in frames[4:]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 7, "the same world continued")
    assert clouds[-1].width == (expected[-1].confidence >= 0.3).sum()

    assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
    assert robot.change_state(Transition.TRANSITION_CLEANUP)
    robot.wait(lambda: statuses[-1].state == "unconfigured" and statuses[-1].points == 0, "an empty node")
    assert set_text(robot, "world_frame", "world").successful, "all parameters may change again"
    assert robot.change_state(Transition.TRANSITION_CONFIGURE) and robot.change_state(Transition.TRANSITION_ACTIVATE)
    robot.wait(lambda: camera.get_subscription_count() == 1, "the second life")
    robot.synchronize()
    clouds.clear()
    for frame in frames[:3]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 2, "two clouds")
    assert clouds[0].header.frame_id == "world"
    assert robot.change_state(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert state(robot) == "finalized"
    refused = robot.call(Trigger, "/spann3r/reset")
    assert "shut down" in refused.message and "start it anew" in refused.message and "configure" not in refused.message
    assert node.interrupt() == 0


@pytest.mark.fault("ROS tools")
def test_launch_hears_that_a_node_in_a_namespace_is_active_whatever_is_logged(start: Start) -> None:
    levels = [
        "--log-level",
        "error",
        "--log-level",
        "robots.one.spann3r.ready:=info",
    ]  # as spann3r.launch.py gives them
    node = start([*levels, "-r", "__ns:=/robots/one"])
    line = node.wait_for_log(READY)
    assert "[robots.one.spann3r.ready]" in line and "INFO" not in node.log.replace(line, "")


def test_a_wrong_checkpoint_is_named_and_can_be_corrected(start: Start, robot: Robot, checkpoint: Path) -> None:
    node = start(checkpoint="/nowhere/weights.pth", status_rate=30.0, silence_timeout=0.0)
    diagnostics = robot.collect(DiagnosticArray, "/diagnostics")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    line = node.wait_for_log("cannot start")
    assert "/nowhere/weights.pth" in line
    assert "ros2 lifecycle set /spann3r configure" in node.log
    robot.wait(lambda: diagnostics and diagnostics[-1].status[0].level == DiagnosticStatus.ERROR, "an error")
    assert "/nowhere/weights.pth" in diagnostics[-1].status[0].message
    robot.wait(lambda: statuses and statuses[-1].complaint == diagnostics[-1].status[0].message, "the status")
    assert state(robot) == "unconfigured"
    assert not robot.change_state(Transition.TRANSITION_CONFIGURE)
    node.wait_for_log("cannot start", count=2)  # every attempt gets its answer
    assert set_text(robot, "checkpoint", str(checkpoint)).successful
    assert robot.change_state(Transition.TRANSITION_CONFIGURE) and robot.change_state(Transition.TRANSITION_ACTIVATE)
    assert state(robot) == "active"
    robot.wait(lambda: statuses[-1].complaint == "", "nothing to complain about")
    assert node.alive


def test_unknown_and_wrong_parameters_are_named_and_the_node_lives(start: Start, robot: Robot) -> None:
    node = start(voxel_size=0.5, map__voxel_size=-1.0, status_rate=30.0)
    assert "did you mean map.voxel_size" in node.wait_for_log("unknown parameter 'voxel_size'")
    line = node.wait_for_log("cannot start: parameter 'map.voxel_size'")
    assert "got -1.0" in line and "0.0001 .. 100" in line
    assert state(robot) == "unconfigured"
    unknown = set_text(robot, "color", "red")
    assert not unknown.successful and "color" in unknown.reason
    value = ParameterValue(type=3, double_value=0.05)
    request = SetParameters.Request(parameters=[Parameter(name="map.voxel_size", value=value)])
    assert robot.call(SetParameters, "/spann3r/set_parameters", request).results[0].successful
    assert robot.change_state(Transition.TRANSITION_CONFIGURE)


def test_a_start_without_trouble_says_nothing_but_information(start: Start, robot: Robot) -> None:
    node = start(status_rate=30.0, silence_timeout=0.0)
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    robot.wait(lambda: statuses and statuses[-1].state == "waiting for images", "the active node")
    lines = [line for line in node.log.splitlines() if "[spann3r]" in line]
    assert lines and all(line.startswith("[INFO]") for line in lines), node.log
    assert "pose" not in node.log, "the noise of the warm-up has none, and nobody wants it"
    assert (statuses[-1].complaint, statuses[-1].posed_frames, statuses[-1].memory.offered) == ("", 0, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly_in_the_middle_of_its_work(start: Start, robot: Robot, number: int) -> None:
    node = start()
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in walk(40):
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) > 2, "clouds")
    assert node.interrupt(number) == 0
    assert "Traceback" not in node.log and "[ERROR]" not in node.log, node.log


def test_started_from_a_shell_it_maps_and_its_interpreter_ends_cleanly_too(
    domain: int, checkpoint: Path, robot: Robot, tmp_path: Path
) -> None:
    """The nodes of the other tests are forked where its modules are imported already."""
    command = [sys.executable, "-m", "spann3r_ros.ros.node", "--ros-args"]
    command += ["-p", f"checkpoint:={checkpoint}", "-p", "tracking.enabled:=false", "-p", "queue_policy:=all"]
    with (tmp_path / "log").open("w") as sink:
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
        node = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sink, stderr=subprocess.STDOUT)
    try:
        clouds = robot.collect(PointCloud2, "/spann3r/cloud")
        camera = robot.publisher(Image, "/camera/image_raw")
        robot.synchronize()
        for frame in walk(4):
            camera.publish(image_message(frame))
        robot.wait(lambda: len(clouds) > 2, "clouds")
        node.send_signal(signal.SIGINT)
        assert node.wait(60) == 0
    finally:
        node.kill()
        node.wait()
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log and "[ERROR]" not in log, log
