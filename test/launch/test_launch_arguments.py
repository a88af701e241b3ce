"""The launch files, read without running them: which arguments they declare and use, and what they start."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path
from typing import Any

import pytest
import yaml

from spann3r_ros.config import NodeConfig, parameters

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.name: path for path in sorted((ROOT / "launch").glob("*.launch.py"))}


def declared(path: Path) -> dict[str, dict[str, Any]]:
    """Name of each declared argument and its keywords; constants are evaluated, other expressions are their source."""
    arguments: dict[str, dict[str, Any]] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "DeclareLaunchArgument":
            [name] = node.args
            arguments[ast.literal_eval(name)] = {
                str(keyword.arg): evaluated(keyword.value) for keyword in node.keywords
            }
    return arguments


def evaluated(expression: ast.expr) -> Any:
    try:
        return ast.literal_eval(expression)
    except ValueError:
        return ast.unparse(expression)


@pytest.mark.parametrize("name", FILES)
def test_every_argument_has_a_default_and_a_description_and_there_are_few(name: str) -> None:
    arguments = declared(FILES[name])
    assert 1 <= len(arguments) <= 15
    for argument, keywords in arguments.items():
        assert "default_value" in keywords, argument
        assert len(keywords["description"]) > 10, argument
        choices = keywords.get("choices")
        if isinstance(choices, list):
            assert keywords["default_value"] in choices, argument


def test_arguments_that_are_parameters_offer_exactly_their_choices() -> None:
    known = {parameter.name: parameter for parameter in parameters(NodeConfig)}
    source = FILES["spann3r.launch.py"].read_text(encoding="utf-8")
    overrides = next(
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OVERRIDES"
    )
    names = ast.literal_eval(overrides)
    arguments = declared(FILES["spann3r.launch.py"])
    for name in names:
        assert arguments[name]["default_value"] == "", "empty, so that params_file decides"
        assert tuple(arguments[name].get("choices", [""])) == ("", *known[name].choices)


@pytest.mark.parametrize("name", FILES)
def test_every_argument_that_is_read_is_declared_and_the_other_way_round(name: str) -> None:
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    read = {
        ast.literal_eval(node.slice)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and ast.unparse(node.value) == "value"
        and isinstance(node.slice, ast.Constant)
    }
    assert read <= set(declared(FILES[name]))
    assert set(declared(FILES[name])) <= words


def test_the_executables_exist() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = {
        line.split("=")[0].strip() for line in setup["options.entry_points"]["console_scripts"].strip().splitlines()
    }
    source = FILES["spann3r.launch.py"].read_text(encoding="utf-8")
    assert 'executable="spann3r"' in source and "spann3r" in scripts
    assert (
        '"spann3r_ros", "spann3r_ros", "make_bag"' in FILES["demo.launch.py"].read_text() and "spann3r_ros" in scripts
    )
    for line in source.splitlines():
        if '"config" /' in line:
            assert (ROOT / "config" / line.split('"config" / "')[1].split('"')[0]).is_file(), line


def test_rviz_shows_map_cloud_path_frames_and_image() -> None:
    view = yaml.safe_load((ROOT / "config" / "spann3r.rviz").read_text())["Visualization Manager"]
    topics = {display["Topic"]["Value"]: display["Topic"] for display in view["Displays"] if "Topic" in display}
    assert {"/spann3r/map", "/spann3r/cloud", "/spann3r/path", "/camera/image_raw"} <= set(topics)
    assert (
        topics["/spann3r/map"]["Durability Policy"] == topics["/spann3r/path"]["Durability Policy"] == "Transient Local"
    )
    assert any(display["Class"] == "rviz_default_plugins/TF" for display in view["Displays"])
    assert view["Global Options"]["Fixed Frame"] == NodeConfig().world_frame
