"""Numba is optional: without it the rest works and the error says what to install."""

from __future__ import annotations

import subprocess
import sys

BLOCKED = "import sys; sys.modules['numba'] = None; sys.argv = ['spann3r_ros', *{arguments!r}];"


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_without_numba_the_command_names_what_to_install(tmp_path) -> None:
    arguments = ["make_bag", str(tmp_path / "bag")]
    result = run(BLOCKED.format(arguments=arguments) + "from spann3r_ros.cli.main import main; sys.exit(main())")
    assert result.returncode == 2, result.stderr
    assert "pip install numba" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "bag").exists()


def test_scenes_and_trajectories_need_no_numba() -> None:
    code = "from spann3r_ros.synthetic.scene import Scene; from spann3r_ros.synthetic.walk import Trajectories;"
    result = run(BLOCKED.format(arguments=[]) + code + "print(len(Trajectories(Scene.apartment()).walk(0, 5)))")
    assert result.stdout.strip() == "5", result.stderr
