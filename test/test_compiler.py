"""Compiled code runs beside other threads; without numba the rest works and the error says what to install."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

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


def test_other_threads_run_while_a_kernel_runs() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    from spann3r_ros.compiler import njit

    @njit
    def wait(flag, turns, limit):
        while flag[0] == 0 and turns[0] < limit:
            turns[0] += 1
        return flag[0]

    flag, turns = np.zeros(1, np.int64), np.zeros(1, np.int64)
    assert wait(flag, turns, 1) == 0  # compiled
    other = threading.Thread(target=flag.fill, args=(1,))
    other.start()
    # With the interpreter's lock held the other thread could not raise the flag: half a minute of turns, then failure.
    assert wait(flag, turns, 20_000_000_000) == 1
    other.join()
