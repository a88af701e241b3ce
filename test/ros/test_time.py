"""Simulated time, looped bags, and the policy for time that jumps back."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from library import reconstruct, walk
from node_process import NodeProcess
from numpy.testing import assert_allclose
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from robot import LATCHED, RELIABLE, Robot, image_message, read_cloud, stamp, to_nanoseconds
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, PointCloud2
from spann3r_ros.msg import ReconstructionStatus
from spann3r_ros.srv import LoadMap

from spann3r_ros.files.ply import read_ply
from spann3r_ros.frame import Frame
from spann3r_ros.prediction import WorldPrediction

Start = Callable[..., NodeProcess]


def assert_same(message: PointCloud2, prediction: WorldPrediction) -> None:
    points, usable = read_cloud(message), prediction.confidence >= 0.3
    assert to_nanoseconds(message.header.stamp) == prediction.frame.stamp
    assert_allclose(
        np.stack([points["x"], points["y"], points["z"]], -1), prediction.points[usable], rtol=1e-6, atol=1e-6
    )


@pytest.mark.fault("time", case="04")
def test_a_looped_bag_begins_a_new_map_each_time(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames = walk(5)
    reconstruction, expected = reconstruct(checkpoint, frames)
    node = start(kept_maps=1, status_rate=30.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for loop in range(3):
        for frame in frames:
            camera.publish(image_message(frame))
        robot.wait(lambda loop=loop: len(clouds) == 4 * (loop + 1), f"the clouds of loop {loop}")
    for index, message in enumerate(clouds):
        assert_same(message, expected[index % 4])
    assert node.log.count("jumped back to 1700000000.000 s: a new map begins") == 2
    robot.wait(lambda: (statuses[-1].frames_received, statuses[-1].frames_processed) == (5, 5), "counts of this map")

    kept = [Path(node.wait_for_log("~/load_map brings it back from", count=loop).split()[-1]) for loop in (1, 2)]
    assert not kept[0].exists() and [entry.name for entry in kept[1].parent.iterdir()] == [kept[1].name], "one is kept"
    loaded = robot.call(LoadMap, "/spann3r/load_map", LoadMap.Request(path=str(kept[1])))
    assert loaded.success and (loaded.points, loaded.frames) == (len(reconstruction.map.cloud()), 4), loaded.message
    cloud, old = read_ply(kept[1] / "map.ply").points, reconstruction.map.cloud().points
    assert_allclose(cloud[np.lexsort(cloud.T)], old[np.lexsort(old.T)], atol=1e-6)


@pytest.mark.fault("time", case="15")
@pytest.mark.fault("words")
def test_strays_and_a_second_publisher_change_nothing_and_are_named(
    start: Start, robot: Robot, checkpoint: Path
) -> None:
    frames, hour = walk(12), 3600 * 10**9
    _, expected = reconstruct(checkpoint, frames)
    node = start(status_rate=30.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    diagnostics = robot.collect(DiagnosticArray, "/diagnostics")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()

    def publish(frame: Frame, offset: int = 0, **changes: object) -> None:
        message = image_message(dataclasses.replace(frame, stamp=frame.stamp + offset))
        for name, value in changes.items():
            setattr(message, name, value)
        camera.publish(message)

    for number in range(30):  # each is wrong in another way
        publish(frames[0], number - 30, data=bytes(number))
    robot.wait(lambda: statuses[-1].state == "no image can be used", "the state while all are lost")
    assert node.log.count("refused") == 1, "one line for thirty images"
    for number, frame in enumerate(frames[:6]):
        publish(frame)
        publish(frame, hour if number % 2 else -hour)
    robot.wait(lambda: statuses[-1].state == "running" and statuses[-1].frames_late == 5, "strays that are counted")

    other = rclpy.create_node("intruder", namespace="/attic", context=robot.node.context)
    second = other.create_publisher(Image, "/camera/image_raw", RELIABLE)
    line = node.wait_for_log("'/camera/image_raw' has 2 publishers")
    assert "/attic/intruder (sensor_msgs/msg/Image, reliable)" in line and "/robot (sensor" in line
    robot.wait(lambda: second.get_subscription_count() == 1, "the second publisher's subscription")
    for frame in frames[6:]:
        second.publish(image_message(dataclasses.replace(frame, stamp=frame.stamp - hour)))
        publish(frame)
    robot.wait(lambda: len(clouds) == len(expected), "the clouds of the first publisher")
    for message, prediction in zip(clouds, expected, strict=True):
        assert_same(message, prediction)
    assert "a new map begins" not in node.log
    assert {pair.key: pair.value for pair in diagnostics[-1].status[1].values}["late"] != "0"

    for _ in range(24):
        publish(frames[-1])
    line = node.wait_for_log("all have the stamp 1700000001.100 s")
    assert "stamp:=arrival" in line
    robot.wait(lambda: statuses[-1].frames_late >= 29, "images of one stamp")
    assert node.log.count("all have the stamp") == 1
    namesake = rclpy.create_node("spann3r", context=robot.node.context)
    assert "__node:=" in node.wait_for_log("2 nodes are called /spann3r")
    for made in (namesake, other):
        made.destroy_node()
    node.wait_for_log("one node is called /spann3r again")
    node.wait_for_log("camera 'camera' has one publisher again")


@pytest.mark.fault("time", case="15")
def test_the_policy_continue_keeps_the_map_and_so_does_a_disk_that_cannot_keep_it(
    start: Start, robot: Robot, checkpoint: Path
) -> None:
    walks = [walk(4, begin=begin * 10**9) for begin in (1_700_000_000, 1_600_000_000, 1_500_000_000)]
    reconstruction, expected = reconstruct(checkpoint, [*walks[0], *walks[1]])
    blocked = Path(os.environ["ROS_LOG_DIR"]) / "stubborn_kept_maps"
    blocked.write_text("a file, where a folder should be")
    node = start(arguments=["-r", "__node:=stubborn"], clock_jump="continue", map_rate=20.0, status_rate=30.0)
    clouds = robot.collect(PointCloud2, "/stubborn/cloud")
    maps = robot.collect(PointCloud2, "/stubborn/map", LATCHED)
    statuses = robot.collect(ReconstructionStatus, "/stubborn/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize("/stubborn")
    for frame in [*walks[0], *walks[1]]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 7, "seven clouds")
    for message, prediction in zip(clouds, expected, strict=True):
        assert_same(message, prediction)
    robot.wait(lambda: maps[-1].width == len(reconstruction.map.cloud()), "the map of both walks")
    node.wait_for_log("the map continues")

    change = Parameter(name="clock_jump", value=ParameterValue(type=4, string_value="reset"))
    request = SetParameters.Request(parameters=[change])
    assert robot.call(SetParameters, "/stubborn/set_parameters", request).results[0].successful
    for frame in walks[2]:
        camera.publish(image_message(frame))
    line = node.wait_for_log("the map could not be kept")
    assert str(blocked) in line and "kept_maps to 0" in line
    reconstruction, _ = reconstruct(checkpoint, [frame for frames in walks for frame in frames])
    robot.wait(lambda: maps[-1].width == len(reconstruction.map.cloud()), "the map of all walks")
    robot.wait(lambda: "could not be kept" in statuses[-1].complaint, "the status")


@pytest.mark.fault("time", case="15")
def test_simulated_time_stamps_the_status_and_its_jump_resets_once(
    start: Start, robot: Robot, checkpoint: Path
) -> None:
    frames = walk(5)
    _, expected = reconstruct(checkpoint, frames)
    node = start(use_sim_time=True, status_rate=30.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    clock = robot.publisher(Clock, "/clock")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for loop in range(2):
        for frame in frames:
            clock.publish(Clock(clock=stamp(frame.stamp)))
            # Of the status, because image and clock come by different topics in no fixed order.
            robot.wait(lambda frame=frame: to_nanoseconds(statuses[-1].header.stamp) == frame.stamp, "simulated time")
            camera.publish(image_message(frame))
        robot.wait(lambda loop=loop: len(clouds) == 4 * (loop + 1), f"the clouds of loop {loop}")
    for index, message in enumerate(clouds):
        assert_same(message, expected[index % 4])
    assert node.log.count("a new map begins") == 1
    assert node.log.count("the ROS clock jumped back") == 1

    other = rclpy.create_node("old_simulator", context=robot.node.context)
    second = other.create_publisher(Clock, "/clock", RELIABLE)
    robot.wait(lambda: second.get_subscription_count() == clock.get_subscription_count(), "the second clock")
    for number in range(200):
        clock.publish(Clock(clock=stamp(frames[-1].stamp + number * 10**6)))
        second.publish(Clock(clock=stamp(frames[0].stamp - 10**9)))
    camera.publish(image_message(dataclasses.replace(frames[-1], stamp=frames[-1].stamp + 10**8)))
    robot.wait(lambda: len(clouds) == 9, "the cloud of an image after all the jumps of the clock")
    assert node.log.count("a new map begins") == 1 and node.log.count("the ROS clock jumped back") < 5
    other.destroy_node()
