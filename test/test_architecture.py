"""The layers of the package: who may import whom, read from the source and tried with ROS out of reach."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "spann3r_ros"
SOURCES = sorted(PACKAGE.rglob("*.py"))

ROS = {
    *("rclpy", "tf2_ros", "cv_bridge", "sensor_msgs_py", "tf_transformations"),
    *("ament_index_python", "launch", "launch_ros", "launch_pytest"),
    *(
        "builtin_interfaces",
        "diagnostic_msgs",
        "geometry_msgs",
        "lifecycle_msgs",
        "nav_msgs",
        "rcl_interfaces",
        "rosgraph_msgs",
    ),
    "rosgraph_msgs",
    *("sensor_msgs", "std_msgs", "std_srvs", "tf2_msgs"),
}
NOUNS = {"frame", "sim3", "prediction", "point_cloud", "config", "errors", "memory.statistics"}
FLOW = {"frame_selection", "reconstruction", "worker"}
BELOW_APPLICATIONS = {*NOUNS, *FLOW, "geometry", "blocks", "memory", "mapping", "models"}
APPLICATIONS = {"training", "synthetic", "evaluation"}
FAMILIES = ("spann3r", "dust3r", "mast3r", "cut3r", "must3r", "streamvggt", "vggt", "stream3r", "fast3r", "point3r")
FAMILY_OF_FILE = {"unordered": "spann3r"}  # the others begin with the name of their family
PAPER_BUILDS_ON = {"spann3r": {"dust3r"}}


@dataclass(frozen=True)
class Layer:
    """What one part of the package may import.

    Attributes:
        ours: parts of this package, besides itself.
        only: the only third-party modules, or None where all but `never` are welcome.
        never: third-party modules that it must not touch.
    """

    ours: set[str]
    only: set[str] | None = None
    never: frozenset[str] = frozenset(ROS)


LAYERS = {
    **dict.fromkeys(NOUNS, Layer(NOUNS, only={"numpy"})),  # memory.statistics is a noun that lives with the memory
    "geometry": Layer(NOUNS, only={"numpy", "cv2", "scipy"}),
    "blocks": Layer(set(), only={"torch"}),
    "memory": Layer(NOUNS, only={"torch", "numpy", "safetensors"}),
    "mapping": Layer({*NOUNS, "geometry"}, never=frozenset({*ROS, "torch"})),
    "models": Layer({*NOUNS, "geometry", "blocks", "memory"}),
    "frame_selection": Layer(NOUNS, only={"numpy"}),
    "reconstruction": Layer({*NOUNS, "geometry", "mapping", "models"}),
    "worker": Layer({*NOUNS, "geometry", "mapping", "models", "reconstruction"}),
    **dict.fromkeys(APPLICATIONS, Layer(BELOW_APPLICATIONS | APPLICATIONS)),
    "ros": Layer({*NOUNS, *FLOW, "geometry", "mapping", "msg", "srv"}, never=frozenset({"torch", "scipy"})),
    "cli": Layer({*BELOW_APPLICATIONS, *APPLICATIONS, "ros", "msg", "srv"}, never=frozenset()),
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a file imports, lazily or not."""
    folder = [PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def broken_rules(path: Path) -> Iterator[str]:
    part = part_of(path)
    layer = LAYERS[part]
    for line, name in imports(path):
        where = f"{path.relative_to(ROOT)}:{line}"
        top, *rest = name.split(".")
        if top == "spann3r_ros":
            if rest and rest[0] != part and not {rest[0], ".".join(rest[:2])} & layer.ours:
                yield f"{where}: '{part}' must not import spann3r_ros.{rest[0]}"
        elif top not in sys.stdlib_module_names and (
            top in layer.never or (layer.only is not None and top not in layer.only)
        ):
            yield f"{where}: '{part}' must not import {top}"


def test_every_part_has_its_place_in_a_layer() -> None:
    unplaced = {part_of(path) for path in SOURCES} - set(LAYERS) - {"__init__", "__main__"}
    assert not unplaced, f"say in LAYERS what {sorted(unplaced)} may import"
    assert len(SOURCES) > 20


def test_imports_respect_the_layers() -> None:
    broken = [message for path in SOURCES if part_of(path) in LAYERS for message in broken_rules(path)]
    assert not broken, "\n".join(broken)


def test_the_rules_catch_a_wrong_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "spann3r_ros" / "geometry" / "wrong.py"
    wrong.parent.mkdir(parents=True)
    wrong.write_text("import numpy\n\ndef lazy():\n    import torch\n    from spann3r_ros.models import base\n")
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "spann3r_ros")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert list(broken_rules(wrong)) == [
        "spann3r_ros/geometry/wrong.py:4: 'geometry' must not import torch",
        "spann3r_ros/geometry/wrong.py:5: 'geometry' must not import spann3r_ros.models",
    ]


def family_of(stem: str) -> str | None:
    return next((family for family in FAMILIES if stem == family or stem.startswith(family + "_")), None)


def test_no_model_family_imports_another() -> None:
    broken = []
    for path in sorted((PACKAGE / "models").glob("*.py")):
        family = FAMILY_OF_FILE.get(path.stem) or family_of(path.stem)
        if path.stem in ("registry", "checkpoint"):  # whose task it is to know all families
            continue
        for line, name in imports(path):
            if not name.startswith("spann3r_ros.models."):
                continue
            other = family_of(name.split(".")[2])
            if other not in (None, family) and (family is None or other not in PAPER_BUILDS_ON.get(family, ())):
                broken.append(f"{path.relative_to(ROOT)}:{line}: {path.stem} must not import {other}")
    assert not broken, "\n".join(broken)


def test_only_models_registry_is_known_to_the_reconstruction() -> None:
    for path in (PACKAGE / "reconstruction.py", PACKAGE / "worker.py"):
        for line, name in imports(path):
            if name.startswith("spann3r_ros.models."):
                assert name.split(".")[2] in ("registry", "base"), f"{path.name}:{line} imports {name}"


def test_the_ros_layer_does_no_linear_algebra() -> None:
    found = []
    for path in sorted((PACKAGE / "ros").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                left = ast.unparse(node.left)  # to compose two Sim3, named target_from_source, is not arithmetic
                if not re.fullmatch(r"(\w+\.)*\w+_from_\w+(\.inverse\(\))?", left):
                    found.append(f"{path.name}:{node.lineno}: matrix product of {left}")
            if isinstance(node, ast.Attribute) and node.attr in ("linalg", "dot", "matmul", "einsum", "tensordot"):
                found.append(f"{path.name}:{node.lineno}: {node.attr}")
    assert not found, "\n".join(found)


def test_only_the_command_line_prints_and_nobody_edits_the_path() -> None:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            if is_print and part_of(path) != "cli":
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: print")
            if isinstance(node, ast.Attribute) and node.attr == "path" and ast.unparse(node) == "sys.path":
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: sys.path")
    assert not found, "\n".join(found)


def test_modules_are_named_after_what_they_hold() -> None:
    vague = {"utils", "util", "helpers", "helper", "misc", "common", "manager", "tools", "stuff"}
    assert not [path for path in SOURCES if path.stem in vague or path.parent.name in vague]


def run_python(code: str) -> str:
    """What a new interpreter prints for `code`; the checkout is its current folder."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_everything_but_ros_imports_without_ros() -> None:
    modules = [path for path in SOURCES if part_of(path) not in ("ros", "__init__", "__main__") and path.exists()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in modules]
    printed = run_python(
        f"""
        import importlib, sys

        class NoRos:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {ROS!r} or name in ("spann3r_ros.msg", "spann3r_ros.srv"):
                    raise ModuleNotFoundError(f"no ROS here: {{name}}", name=name)

        sys.meta_path.insert(0, NoRos())
        for name in {names!r}:
            importlib.import_module(name)
        print(sorted({{name.split(".")[0] for name in sys.modules}} & {ROS!r}))
        """
    )
    assert printed.strip() == "[]"


def test_light_parts_stay_light() -> None:
    printed = run_python(
        """
        import sys
        import spann3r_ros, spann3r_ros.config, spann3r_ros.frame, spann3r_ros.prediction, spann3r_ros.cli.main
        print(sorted({"torch", "rclpy", "cv2", "scipy", "matplotlib"} & set(sys.modules)))
        """
    )
    assert printed.strip() == "[]"
