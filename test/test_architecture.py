"""The layers of the package: who may import whom, read from the source and tried with ROS out of reach."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
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
    *("sensor_msgs", "std_msgs", "std_srvs", "tf2_msgs", "visualization_msgs"),
}
NOUNS = {
    "errors",
    "complaints",
    "config",
    "node_config",
    "parameter",
    "frame",
    "sim3",
    "prediction",
    "point_cloud",
    "trajectory",
    "memory_status",
}
NOUNS |= {"compiler", "heap", "stamp_order"}
FLOW = {"estimated_intrinsics", "frame_selection", "merging", "place_recognition", "reconstruction", "saved_world"}
FLOW |= {"tracking", "worker"}
LEVELS = (
    NOUNS,
    {"geometry", "blocks"},
    {"memory", "files"},
    {"models"},
    {"streaming", "mapping", "recordings", "alignment"},
    FLOW,
    {"runs", "synthetic"},
    {"evaluation", "training", "pictures"},
    {"ros"},
    {"cli"},
)
"""From the bottom up. A part imports what lies below it, and beside it where that makes no circle."""

PAPER_BUILDS_ON = {
    "spann3r": {"dust3r"},
    "mast3r": {"dust3r"},
    "cut3r": {"dust3r"},
    "fast3r": {"dust3r"},
    "streamvggt": {"vggt"},
    "pi3x": {"pi3"},
}
"""The other families whose folder a family may import; every other import between two families is refused."""


@dataclass(frozen=True)
class Layer:
    """What one part may import besides what its level allows.

    Attributes:
        only: the only third-party modules, or None where all but `never` are welcome.
        never: modules, third-party or parts of this package, that it must not touch.
    """

    only: set[str] | None = None
    never: frozenset[str] = frozenset(ROS)


LAYERS = {
    **dict.fromkeys((part for level in LEVELS for part in level), Layer()),
    **dict.fromkeys(NOUNS, Layer(only={"numpy"})),
    "compiler": Layer(only={"numba"}),
    "geometry": Layer(only={"numpy", "cv2", "scipy", "PIL", "simplejpeg"}),
    "blocks": Layer(only={"torch"}),
    "memory": Layer(only={"torch", "numpy", "safetensors"}),
    "files": Layer(only={"numpy"}),
    "mapping": Layer(never=frozenset({*ROS, "torch", "models"})),
    "recordings": Layer(never=frozenset({*ROS, "torch", "models"})),
    "frame_selection": Layer(only={"numpy"}),
    "tracking": Layer(only={"numpy"}),
    "ros": Layer(never=frozenset({"torch", "scipy", "models", "blocks", "memory", "streaming", "training"})),
    "cli": Layer(never=frozenset()),
}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a file imports, lazily or not."""
    folder = [PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def level_of(part: str) -> int:
    return next(number for number, level in enumerate(LEVELS) if part in level)


def broken_rules(path: Path) -> Iterator[str]:
    part = part_of(path)
    layer = LAYERS[part]
    for line, name in imports(path):
        where = f"{path.relative_to(ROOT)}:{line}"
        top, *rest = name.split(".")
        if top == "spann3r_ros":
            upward = rest and rest[0] in LAYERS and level_of(rest[0]) > level_of(part)
            generated = rest and rest[0] in ("msg", "srv") and part not in ("ros", "cli")
            if upward or generated or (rest and rest[0] in layer.never):
                yield f"{where}: '{part}' must not import spann3r_ros.{rest[0]}"
        elif top not in sys.stdlib_module_names and (
            top in layer.never or (layer.only is not None and top not in layer.only)
        ):
            yield f"{where}: '{part}' must not import {top}"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """Which module of the package imports which, lazily or not."""
    modules = {module_of(path): path for path in SOURCES}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        found = set()
        for _, name in imports(path):
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name not in ("", PACKAGE.name, module):
                found.add(name)
        graph[module] = found
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """One circle for each edge that closes one, by depth-first search."""
    found: list[list[str]] = []
    state: dict[str, int] = {}
    trail: list[str] = []

    def visit(node: str) -> None:
        state[node] = 1
        trail.append(node)
        for other in sorted(graph.get(node, ())):
            if state.get(other) == 1:
                found.append([*trail[trail.index(other) :], other])
            elif other not in state:
                visit(other)
        trail.pop()
        state[node] = 2

    for node in sorted(graph):
        if node not in state:
            visit(node)
    return found


def test_no_module_imports_itself_over_others() -> None:
    assert not circles(import_graph()), "\n".join(" -> ".join(circle) for circle in circles(import_graph()))


def test_no_part_imports_itself_over_other_parts() -> None:
    graph: dict[str, set[str]] = {}
    for module, others in import_graph().items():
        part = module.split(".")[1] if "." in module else ""
        graph.setdefault(part, set()).update({other.split(".")[1] for other in others} - {part})
    graph.pop("", None)
    assert not circles(graph), "\n".join(" -> ".join(circle) for circle in circles(graph))


def test_a_circle_would_be_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c", "a"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


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


FAMILIES = sorted(folder.name for folder in (PACKAGE / "models").iterdir() if (folder / "network.py").is_file())


def test_a_family_imports_another_only_where_its_paper_builds_on_it() -> None:
    broken = []
    for path in sorted((PACKAGE / "models").rglob("*.py")):
        family = path.parent.name if path.parent.name in FAMILIES else None
        if path.stem in ("registry", "reading", "keywords", "pixels"):  # whose task it is to know all families
            continue
        for line, name in imports(path):
            parts = name.split(".")
            other = parts[2] if parts[:2] == ["spann3r_ros", "models"] and parts[2] in FAMILIES else None
            if other not in (None, family) and (family is None or other not in PAPER_BUILDS_ON.get(family, ())):
                broken.append(f"{path.relative_to(ROOT)}:{line}: {path.stem} must not import {other}")
    assert not broken, "\n".join(broken)


def test_no_family_is_known_to_the_reconstruction() -> None:
    for path in (PACKAGE / f"{name}.py" for name in sorted(FLOW)):
        for line, name in imports(path):
            if name.startswith("spann3r_ros.models."):
                assert name.split(".")[2] in ("registry", "base", "loading"), f"{path.name}:{line} imports {name}"


def test_the_ros_layer_does_no_linear_algebra() -> None:
    found = []
    for path in sorted((PACKAGE / "ros").glob("*.py")):
        for node in ast.walk(parsed(path)):
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
        for node in ast.walk(parsed(path)):
            is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            if is_print and part_of(path) != "cli":
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: print")
            if isinstance(node, ast.Attribute) and node.attr == "path" and ast.unparse(node) == "sys.path":
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: sys.path")
    assert not found, "\n".join(found)


def takes_arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function takes what a command line was parsed into."""
    parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return any(each.annotation is not None and "Namespace" in ast.unparse(each.annotation) for each in parameters)


def test_parsed_arguments_stay_where_they_were_parsed() -> None:
    found = []
    for path in SOURCES:
        tree = parsed(path)
        methods = {child for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for child in node.body}
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not takes_arguments(node):
                continue
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            small_helper = node.name.startswith("_") and node not in methods and length <= 30
            if part_of(path) != "cli" or not (node.name == "run" or small_helper):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} takes a Namespace")
    assert not found, "\n".join(found)


def test_modules_are_named_after_what_they_hold() -> None:
    vague = {"utils", "util", "helpers", "helper", "misc", "common", "manager", "tools", "stuff"}
    assert not [path for path in SOURCES if path.stem in vague or path.parent.name in vague]


NAMED_AFTER_SOMETHING_ELSE = {
    "cli/test_reconstruct_unordered.py": "one option of cli/reconstruct.py",
    "gpu/test_captured_on_cuda.py": "blocks/captured.py, where there is a CUDA device",
    "gpu/test_families_on_cuda.py": "every family, where there is a CUDA device",
    "launch/test_launch_arguments.py": "the launch files, which lie outside of the package",
    "models/test_contracts.py": "what every family promises",
    "models/test_new_family.py": "that a family takes one folder and one row",
    "ros/test_corrected_world.py": "all outputs after a correction",
    "ros/test_demo.py": "cli/demo.py, with the node of these fixtures",
    "ros/test_families.py": "every family in the running node",
    "ros/test_launch_file.py": "the launch files",
    "ros/test_lifecycle.py": "the running node from its start to its end",
    "ros/test_results.py": "all that the running node publishes",
    "ros/test_tf.py": "the transforms of the running node",
    "ros/test_time.py": "the running node when time jumps",
    "synthetic/test_apartment_look.py": "apartment.yaml",
    "test_architecture.py": "the whole package",
    "test_gpu_check.py": "make gpu-check",
    "test_packaging.py": "what is shipped",
    "test_readme.py": "the README",
    "test_robustness.py": "the marks of all tests",
    "test_ros_check.py": "make ros-check",
}


def test_tests_lie_and_are_named_as_the_modules_that_they_test() -> None:
    nameless = set()
    for path in sorted((ROOT / "test").rglob("test_*.py")):
        module = PACKAGE / path.relative_to(ROOT / "test").with_name(path.stem.removeprefix("test_"))
        if not module.with_suffix(".py").is_file() and not module.is_dir():
            nameless.add(str(path.relative_to(ROOT / "test")))
    assert nameless == set(NAMED_AFTER_SOMETHING_ELSE)


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


def test_a_class_and_a_file_are_called_once() -> None:
    """Families' folders have files of the same names, and a subcommand's module is called as it is typed."""
    classes: dict[str, list[str]] = {}
    files: dict[str, list[str]] = {}
    for path in SOURCES:
        where = str(path.relative_to(PACKAGE))
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(where)
        if path.parent.name not in (*FAMILIES, "cli") and path.stem != "__init__":
            files.setdefault(path.stem, []).append(where)
    assert not {name: where for name, where in {**classes, **files}.items() if len(where) > 1}
