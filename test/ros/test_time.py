"""Simulated time, looped bags, and the policy for time that jumps back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from library import reconstruct, walk
from node_process import NodeProcess
from numpy.testing import assert_allclose
from robot import LATCHED, Robot, image_message, read_cloud, stamp, to_nanoseconds
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, PointCloud2
from spann3r_ros.msg import ReconstructionStatus

from spann3r_ros.prediction import WorldPrediction

Start = Callable[..., NodeProcess]


def assert_same(message: PointCloud2, prediction: WorldPrediction) -> None:
    points, usable = read_cloud(message), prediction.confidence >= 0.3
    assert to_nanoseconds(message.header.stamp) == prediction.frame.stamp
    assert_allclose(
        np.stack([points["x"], points["y"], points["z"]], -1), prediction.points[usable], rtol=1e-6, atol=1e-6
    )


def test_a_looped_bag_begins_a_new_map_each_time(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames = walk(5)
    _, expected = reconstruct(checkpoint, frames)
    node = start()
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for loop in range(3):
        for frame in frames:
            camera.publish(image_message(frame))
        robot.wait(lambda loop=loop: len(clouds) == 4 * (loop + 1), f"the clouds of loop {loop}")
    for index, message in enumerate(clouds):
        assert_same(message, expected[index % 4])
    assert node.log.count("jumped back to 1700000000.000 s: a new map begins") == 2


def test_the_policy_continue_keeps_the_map(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames, again = walk(4), walk(4, begin=1_600_000_000_000_000_000)
    reconstruction, expected = reconstruct(checkpoint, [*frames, *again])
    node = start(clock_jump="continue", map_rate=20.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    maps = robot.collect(PointCloud2, "/spann3r/map", LATCHED)
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in [*frames, *again]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 7, "seven clouds")
    for message, prediction in zip(clouds, expected, strict=True):
        assert_same(message, prediction)
    robot.wait(lambda: maps[-1].width == len(reconstruction.map), "the map of both walks")
    node.wait_for_log("the map continues")


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
    assert "the ROS clock jumped back" in node.log
