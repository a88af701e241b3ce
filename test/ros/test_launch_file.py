"""The launch file run by launch itself where that is installed; the other tests cover the same behavior."""

from __future__ import annotations

from pathlib import Path

import pytest
from library import walk
from robot import Robot, image_message
from sensor_msgs.msg import Image, PointCloud2

launch_pytest = pytest.importorskip("launch_pytest", reason="launch_pytest is not installed")

from launch import LaunchDescription  # noqa: E402
from launch.actions import IncludeLaunchDescription, SetEnvironmentVariable  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402

pytestmark = pytest.mark.ros_tool("launch_pytest")
ROOT = Path(__file__).resolve().parents[2]


@launch_pytest.fixture
def description(domain: int, checkpoint: Path) -> LaunchDescription:
    source = PythonLaunchDescriptionSource(str(ROOT / "launch" / "spann3r.launch.py"))
    arguments = {"checkpoint": str(checkpoint), "device": "cpu", "queue_policy": "all", "namespace": "robot1"}
    return LaunchDescription(
        [
            SetEnvironmentVariable("ROS_DOMAIN_ID", str(domain)),
            IncludeLaunchDescription(source, launch_arguments=arguments.items()),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


@pytest.mark.launch(fixture=description)
@pytest.mark.timeout(120)
def test_the_launched_node_maps(robot: Robot) -> None:
    clouds = robot.collect(PointCloud2, "/robot1/spann3r/cloud")
    camera = robot.publisher(Image, "/robot1/camera/image_raw")
    robot.synchronize("/robot1/spann3r")
    for frame in walk(4):
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 3, "three clouds")
    assert clouds[0].header.frame_id == "map"
    assert clouds[0].width > 0
