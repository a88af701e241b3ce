"""`make ros-check` says what it ran, and that it ran nothing."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
import ros_check
from ros_check import BAD_SOURCES, FAILED, INCOMPLETE, NOTHING_RUN, PASSED, Count, main, sources, verdict
from ros_tools import MODULES, is_here

ROOT = Path(__file__).resolve().parents[1]
ALL, NONE = dict.fromkeys(MODULES, True), dict.fromkeys(MODULES, False)
SOME = {**ALL, "launch_pytest": False}


@pytest.mark.parametrize(
    ("here", "passed", "failed", "status", "words"),
    [
        (ALL, 40, 0, PASSED, "40 tests passed against real ROS tools"),
        (ALL, 40, 1, FAILED, "1 tests failed"),
        (NONE, 0, 0, NOTHING_RUN, "NOTHING WAS RUN"),
        (SOME, 0, 0, NOTHING_RUN, "launch_pytest cannot be imported"),
        (SOME, 30, 0, INCOMPLETE, "INCOMPLETE, for these tools are missing: launch_pytest"),
    ],
)
def test_the_status_tells_nothing_run_and_incomplete_from_passed(
    here: dict[str, bool], passed: int, failed: int, status: int, words: str
) -> None:
    count = Count()
    count.passed, count.failed = passed, failed
    found, text = verdict(here, count)
    assert found == status and words in text
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"\n| {status} | " in table and f"\n| {BAD_SOURCES} | " in table


@pytest.mark.fault("ROS tools")
def test_without_a_tool_it_runs_nothing_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ros_check, "is_here", lambda _tool: False)
    assert main([]) == NOTHING_RUN
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("ros-check: NOTHING WAS RUN") and all(tool in last for tool in MODULES)


def test_every_tool_has_its_tests_and_every_mark_a_tool() -> None:
    marked = set()
    for path in (ROOT / "test").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.ros_tool":
                marked.add(ast.literal_eval(node.args[0]))
    assert marked <= set(MODULES) and set(MODULES) - marked == {"launch", "launch_ros"}, "launch_pytest brings these"


def test_our_folder_of_launch_files_is_not_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    if importlib.util.find_spec("osrf_pycommon") is None:  # which launch needs
        assert not is_here("launch")


def test_packages_are_found_by_their_manifest(tmp_path: Path) -> None:
    for folder, name, script in (("a/launch", "launch", True), ("b", "rclcpp", True), ("c", "launch_ros", False)):
        place = tmp_path / folder
        place.mkdir(parents=True)
        (place / "package.xml").write_text(f"<package><name>{name}</name></package>")
        if script:
            (place / "setup.py").touch()
    assert sources(tmp_path) == {"launch": tmp_path / "a" / "launch"}
