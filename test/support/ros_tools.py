"""Tools of a ROS distribution that no registry has: which tests need them, and which tools are here.

A test that needs one says so: ``@pytest.mark.ros_tool("cv_bridge")``; without it the test is skipped. With
``stand_in=True`` it runs in either case, against the tool where it is installed and against something else where not.
`make ros-check` (``scripts/ros_check.py``) runs exactly these tests.
"""

from __future__ import annotations

import importlib.util

MODULES = {
    "cv_bridge": "cv_bridge",
    "launch": "launch.actions",  # not `launch`: our folder of that name answers to it
    "launch_pytest": "launch_pytest",
    "launch_ros": "launch_ros.actions",
    "sensor_msgs_py": "sensor_msgs_py.point_cloud2",
    "tf2_ros": "tf2_ros",
    "tf_transformations": "tf_transformations",
}
"""The module that shows that a tool is there, by its ROS package."""


def is_here(tool: str) -> bool:
    """Whether a tool is installed; one that is broken counts, and its tests will fail."""
    try:
        found = importlib.util.find_spec(MODULES[tool])
    except ModuleNotFoundError:
        return False
    return found is not None and found.origin is not None  # else a mere folder of that name
