from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spann3r_ros import __version__

ROOT = Path(__file__).parents[2]
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{module}":
            raise ModuleNotFoundError("No module named '{module}'", name="{module}")
sys.meta_path.insert(0, Absent())
from spann3r_ros.ros.executable import main
sys.exit(main({arguments}))
"""


def run(module: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The executable where a module is missing."""
    code = WITHOUT.format(module=module, arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.fault("ROS tools")
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("rclpy", ("ROS 2 cannot be imported", "make setup")),
        ("cv2", ("cv2", "pip install opencv-python-headless")),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(module: str, words: tuple[str, ...]) -> None:
    result = run(module, ["--ros-args", "-p", "device:=cpu"])
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert all(word in result.stderr for word in words)
    assert ("workspace" in result.stderr) == (module == "rclpy")


@pytest.mark.fault("ROS tools")
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--help"], 0, "--ros-args"),
        (["--version"], 0, __version__),
        (["--ros-args", "-r", "__node:=a", "--", "-h"], 0, "camera topics in"),
        (["image_topic:=/camera"], 2, "unrecognized arguments: image_topic:=/camera"),
    ],
)
def test_help_and_version_do_not_start_the_node(arguments: list[str], status: int, words: str) -> None:
    result = run("rclpy", arguments)  # which a start would need
    assert (result.returncode, "Traceback" in result.stderr) == (status, False)
    assert words in result.stdout + result.stderr


@pytest.mark.fault("ROS tools")
def test_a_subcommand_may_be_written_with_a_dash_and_the_version_is_told() -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "200"}
        run = [sys.executable, "-m", "spann3r_ros", *words]
        return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)

    assert "usage: spann3r_ros make_bag" in command("make-bag", "--help").stdout
    assert command("--version").stdout.strip() == f"spann3r_ros {__version__}"
