from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "rclpy":
            raise ModuleNotFoundError("No module named 'rclpy'", name="rclpy")
sys.meta_path.insert(0, Absent())
from spann3r_ros.ros.executable import main
main()
"""


def test_without_ros_it_says_what_to_do() -> None:
    result = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "spann3r needs ROS 2" in result.stderr and "make setup" in result.stderr
