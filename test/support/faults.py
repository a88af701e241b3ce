"""The kinds of faults that the package must stand, and the tests that hold each: ``docs/robustness.md``.

A test says which kind it holds: ``@pytest.mark.fault("hostile file")``, with ``case="22"`` where it holds one of the
situations that users met (``CASES``). ``python test/support/faults.py`` writes the page from these marks.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import os
import platform
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

MEASURED = re.compile(r"<!-- measured: .*? -->\n\n## (?P<title>.*?)\n.*?<!-- end: measured -->\n", re.DOTALL)
"""Figures on the page, which a command measures and this one keeps."""

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "robustness.md"

KINDS = {
    "hostile request": "No service, parameter event, callback or timer ends the node; the answer says why.",
    "services under load": "Every request is answered or refused in words, however many come at once.",
    "image judged before decoding": "Sizes are checked before memory is taken; damaged pictures are refused.",
    "weights pulled away": "A weights file that is truncated or overwritten while the node runs changes nothing.",
    "hostile file": "Every reader answers a damaged or hostile file with a typed error, at little cost.",
    "foreign files": "Saving never deletes or follows what it did not write, and a kill in the middle loses no map.",
    "load is all or nothing": "A map that cannot be used is refused, and what was there stays.",
    "time": "One stray stamp changes nothing; a confirmed jump follows the policy, and the old map is kept.",
    "first images": "The world begins with usable images.",
    "lost": "No pose, no insertion; the state says that tracking is lost.",
    "not finite": "Nothing that is not finite is ever remembered.",
    "map bound": "Points that the map forgets are counted and told.",
    "recordings": "What is whole is read, what is missing is counted, and the exit status tells.",
    "words": "One complaint a kind, as long as it lasts; everything dropped has a counter.",
    "calibration": "CameraInfo is judged; a camera without it costs the first image a delay, once.",
    "encodings": "One table of encodings for node and bags: decoded right or refused by name.",
    "ROS tools": "Launch files, tf2 and the command line of a real ROS distribution.",
    "endurance": "Hours of images and faults leave memory, latency and threads as they were.",
}
"""What is promised of each kind."""

CASES = {
    "01": "a split bag of more than ten files without metadata",
    "02": "a power cut: the last file of a bag is torn",
    "03": "stamps that count from 0.000",
    "04": "a clock set back while recording; a lone stamp from the future",
    "05": "compressed Bayer images",
    "06": "thermal and 16-bit images with low bits",
    "07": "forms of image encodings",
    "08": "forms of CameraInfo",
    "09": "Image.step 0 or wrong with whole data",
    "10": "a frame_id that begins with a slash",
    "11": "cut or damaged videos",
    "12": "trajectories in the forms of other tools",
    "13": "folders of photos with masks, broken and foreign files",
    "14": "a bag that holds a mapper's own results",
    "15": "two publishers on one image topic; one stray image",
    "16": "constant stamps",
    "17": "an own recording in TUM layout",
    "18": "bags of ROS 1 and of other serializations",
    "19": "renamed storage, halved metadata, compressed files",
    "20": "PLY files of other tools",
    "22": "JPEG without its end; with a hole",
    "23": "a dark, blue or black first image",
    "24": 'a camera with "depth" in its name',
}
"""Situations that users met."""


def marked_tests() -> list[tuple[str, str, str]]:
    """(kind, case or "", test as ``file::name``) of every mark in the tests."""
    found = []
    for path in sorted((ROOT / "test").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found += [(*mark, f"{name}::{node.name}") for mark in map(_fault, node.decorator_list) if mark]
    return found


def _fault(decorator: ast.expr) -> tuple[str, str] | None:
    """(kind, case) of ``@pytest.mark.fault(kind, case=...)``; None for another decorator."""
    if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault"):
        return None
    kind = ast.literal_eval(decorator.args[0])
    cases = [ast.literal_eval(keyword.value) for keyword in decorator.keywords if keyword.arg == "case"]
    return kind, cases[0] if cases else ""


def measured() -> dict[str, str]:
    """The parts of the page that hold figures, with their marks, by their titles."""
    return {found["title"]: found[0] for found in MEASURED.finditer(PAGE.read_text(encoding="utf-8"))}


def write_measured(title: str, command: str, lines: list[str]) -> None:
    """Put figures into the page in the place of older ones.

    Args:
        title: of their part.
        command: that measured them.
        lines: Markdown.
    """
    text, old = PAGE.read_text(encoding="utf-8"), measured().get(title)
    new = "\n".join(
        [f"<!-- measured: `{command}` -->", "", f"## {title}", "", *lines, "", "<!-- end: measured -->", ""]
    )
    PAGE.write_text(text.replace(old, new) if old else f"{text}\n{new}", encoding="utf-8")


def page() -> str:
    """The text of ``docs/robustness.md``."""
    tests = marked_tests()
    kinds, cases = defaultdict(list), defaultdict(list)
    for kind, case, test in tests:
        kinds[kind].append(test)
        if case:
            cases[case].append(test)
    lines = [
        "# Robustness",
        "",
        "Which faults the package stands, and the tests that hold it. Written by `python test/support/faults.py` from",
        "the marks of the tests; a test compares.",
        "",
        f"{len({test for *_, test in tests})} tests hold {len(kinds)} of {len(KINDS)} kinds of faults"
        f" and {len(cases)} of {len(CASES)} situations that users met.",
        "",
        "## Kinds",
    ]
    for kind, promise in KINDS.items():
        lines += ["", f"### {kind[0].upper()}{kind[1:]}", "", promise, ""]
        lines += [f"- `{test}`" for test in kinds[kind]] or ["No test is marked yet."]
    lines += ["", "## Situations that users met", "", "| case | situation | tests |", "|---|---|---|"]
    for case, title in CASES.items():
        names = "<br>".join(f"`{test}`" for test in cases[case]) or "none yet"
        lines.append(f"| {case} | {title} | {names} |")
    return "\n".join([*lines, "", *measured().values()]).rstrip("\n") + "\n"


def write_soak(seconds: int) -> int:
    """Throw faults at the running node for so long, and put the verdict into the page; returns the exit status."""
    command = [sys.executable, "-m", "spann3r_ros", "soak", "--duration", str(seconds)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(run.stdout, end="")
    verdict = run.stdout.splitlines()[-1]
    text = (
        f"`make soak DURATION={seconds}`, the real node with a synthetic camera and every fault of a robot at random. "
        f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores:"
    )
    write_measured(
        "What the running node stood", f"python test/support/faults.py --soak {seconds}", [text, "", f"    {verdict}"]
    )
    return run.returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write docs/robustness.md from the marks of the tests.")
    parser.add_argument("--soak", type=int, metavar="SECONDS", help="measure the running node first (`make soak`)")
    seconds = parser.parse_args().soak
    status = write_soak(seconds) if seconds else 0
    PAGE.write_text(page())
    sys.exit(status)
