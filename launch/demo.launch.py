"""A walk through the synthetic apartment that the shipped model knows: record it, play it, watch the map grow.

ros2 launch spann3r_ros demo.launch.py
"""

import atexit
import shutil
import tempfile
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

LAUNCH = Path(get_package_share_directory("spann3r_ros")) / "launch"
BOOLEANS = ["true", "false"]


def start(context: LaunchContext) -> list:
    frames, device, rviz = (LaunchConfiguration(name).perform(context) for name in ("frames", "device", "rviz"))
    folder = Path(tempfile.mkdtemp(prefix="spann3r_ros_demo_"))
    # When launch itself ends, not when it begins to: until then the recorder may still write there, and make it anew.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    bag = folder / "walk"
    # Without the robot's frames, so that world -> camera is published.
    command = ["ros2", "run", "spann3r_ros", "spann3r_ros", "make_bag", str(bag), "--frames", frames, "--tf", "camera"]
    record = ExecuteProcess(cmd=command, output="screen")
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(LAUNCH / "spann3r.launch.py")),
        launch_arguments={"bag": str(bag), "device": device, "rviz": rviz}.items(),
    )

    def recorded(event: object, _: LaunchContext) -> list:
        return [node] if getattr(event, "returncode", 1) == 0 else []

    return [RegisterEventHandler(OnProcessExit(target_action=record, on_exit=recorded)), record]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("frames", default_value="100", description="Images of the walk, five a second."),
            DeclareLaunchArgument(
                "device",
                default_value="auto",
                choices=["auto", "cpu", "cuda"],
                description="Where the network runs; auto takes CUDA when there is one.",
            ),
            DeclareLaunchArgument(
                "rviz", default_value="true", choices=BOOLEANS, description="Show map, poses and camera in RViz."
            ),
            OpaqueFunction(function=start),
        ]
    )
