"""Runs the tests of the real ROS tools, and says what was not run: `make ros-check`.

The tools are those of a sourced ROS 2 distribution. Without one, those that are pure Python can be run from source:
each folder below ``--sources`` that holds a ``setup.py`` and the ``package.xml`` of a package in ``FROM_SOURCE`` is
installed into ``build/ros-check/site``, with what it needs from the Python registry. ``PYTHONPATH`` adds tools that
were built elsewhere.

Exit status: 0 all tools were there and every test passed; 1 a test failed; 2 the sources cannot be installed;
3 nothing was run, for no tool is there; 4 what was run passed, but a tool is missing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ros_tools import MODULES, is_here

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "ros-check" / "site"

FROM_SOURCE = {
    "launch": ("osrf-pycommon",),
    "launch_pytest": (),
    "launch_ros": (),
    "launch_testing": (),
    "osrf_pycommon": (),
    "sensor_msgs_py": (),
    "tf2_ros_py": (),  # needs tf2_py, which is C++
    "tf_transformations": ("transforms3d",),
}
"""ROS packages of pure Python, and what they need from the Python registry. Of the others, the registry's packages
`launch` and `cv-bridge` are other programs: never install those."""

PASSED, FAILED, BAD_SOURCES, NOTHING_RUN, INCOMPLETE = range(5)


class Count:
    """A plugin of pytest: only tests whose tools are here are run; how many of them passed and failed."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        tools = [[mark.args[0] for mark in item.iter_markers("ros_tool")] for item in items]
        items[:] = [item for item, wanted in zip(items, tools, strict=True) if wanted and all(map(is_here, wanted))]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed += report.failed
        self.passed += report.passed and report.when == "call"


def sources(folder: Path) -> dict[str, Path]:
    """Where the packages of ``FROM_SOURCE`` lie below a folder."""
    found = {}
    for path in sorted(folder.rglob("package.xml")):
        name = ElementTree.parse(path).getroot().findtext("name", "").strip()
        if name in FROM_SOURCE and (path.parent / "setup.py").is_file():
            found.setdefault(name, path.parent)
    return found


def install(found: Mapping[str, Path]) -> int:
    """Status of pip, which puts the packages into ``SITE``."""
    wanted = sorted({need for name in found for need in FROM_SOURCE[name]})
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(SITE)]
    status = subprocess.run([*command, *wanted], check=False).returncode if wanted else 0
    from_source = [*command, "--no-build-isolation", *map(str, found.values())]
    return status or (subprocess.run(from_source, check=False).returncode if found else 0)


def verdict(here: Mapping[str, bool], count: Count) -> tuple[int, str]:
    """The exit status and the last line."""
    missing = ", ".join(tool for tool, is_there in here.items() if not is_there)
    if count.failed:
        return FAILED, f"{count.failed} tests failed"
    if not any(here.values()) or not count.passed:
        return NOTHING_RUN, f"NOTHING WAS RUN against real ROS tools: {missing} cannot be imported. Source a ROS 2 " + (
            "distribution, or name a folder of sources: make ros-check SOURCES=folder"
        )
    if missing:
        return INCOMPLETE, f"{count.passed} tests passed; INCOMPLETE, for these tools are missing: {missing}"
    return PASSED, f"{count.passed} tests passed against real ROS tools"


def main(argv: Sequence[str] | None = None) -> int:
    """Install sources, list the tools, run the tests; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, help="folder of ROS packages to run from source")
    arguments, rest = parser.parse_known_args(argv)
    if arguments.sources is not None:
        found = sources(arguments.sources)
        print(f"ros-check: from source: {', '.join(found) or 'nothing'}")
        if install(found):
            print("ros-check: pip could not install the sources")
            return BAD_SOURCES
        # A new process sees them, and so do the nodes that the tests start.
        path = os.pathsep.join(filter(None, [str(SITE), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, __file__, *rest]
        return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False, cwd=ROOT).returncode
    here = {tool: is_here(tool) for tool in MODULES}
    for tool, is_there in here.items():
        print(f"ros-check: {tool:20}{'here' if is_there else 'missing'}")
    count = Count()
    if any(here.values()):
        os.chdir(ROOT)
        status = pytest.main(["test/ros", "test/geometry/test_encodings.py", *rest], plugins=[count])
        count.failed += status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    code, text = verdict(here, count)
    print(f"ros-check: {text}")
    return code


if __name__ == "__main__":
    sys.exit(main())
