"""The launch files without launch: which arguments they declare and use, and what they would start."""

from __future__ import annotations

import ast
import atexit
import configparser
import runpy
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from spann3r_ros.node_config import NodeConfig
from spann3r_ros.parameter import parameters

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
    assert 1 <= len(arguments) <= 21
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
        if known[name].kind is bool:
            assert arguments[name]["choices"] == "['', *BOOLEANS]"
        else:
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
            assert (ROOT / "config" / line.split('"config" / "')[1].split('"')[0]).exists(), line


def test_rviz_shows_map_cloud_path_frames_and_image() -> None:
    view = yaml.safe_load((ROOT / "config" / "spann3r.rviz").read_text())["Visualization Manager"]
    topics = {display["Topic"]["Value"]: display["Topic"] for display in view["Displays"] if "Topic" in display}
    assert {"/spann3r/map", "/spann3r/cloud", "/spann3r/path", "/camera/image_raw"} <= set(topics)
    assert (
        topics["/spann3r/map"]["Durability Policy"] == topics["/spann3r/path"]["Durability Policy"] == "Transient Local"
    )
    assert topics["/camera/image_raw"]["Reliability Policy"] == "Reliable", "best effort loses raw images"
    assert any(display["Class"] == "rviz_default_plugins/TF" for display in view["Displays"])
    assert view["Global Options"]["Fixed Frame"] == NodeConfig().world_frame


class Recorded:
    """Stands for any class of launch: keeps what it was made with."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments, self.options = arguments, options


@pytest.fixture
def launch_files(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``launch_files(name, installed, **arguments)``: what a launch file starts, with launch itself stood in for.

    Where launch is installed, test_launch_file.py runs the file for real.
    """

    def run(name: str, installed: Sequence[str] = ("rviz2", "ros2bag"), **arguments: str) -> list[Any]:
        class NotFound(KeyError):
            pass

        def prefix(package: str) -> str:
            if package not in installed:
                raise NotFound(package)
            return "/opt/ros"

        kinds = "LaunchContext LaunchDescription DeclareLaunchArgument ExecuteProcess LogInfo OpaqueFunction Node"
        kinds += " RegisterEventHandler IncludeLaunchDescription OnProcessIO OnProcessExit LifecycleNode"
        kinds += " PythonLaunchDescriptionSource"
        made = {kind: type(kind, (Recorded,), {}) for kind in kinds.split()}
        values = {argument: words["default_value"] for argument, words in declared(FILES[name]).items()}
        values = {**values, "params_file": str(ROOT / "config" / "spann3r.yaml"), **arguments}
        made["LaunchConfiguration"] = lambda key: SimpleNamespace(perform=lambda _context: values[key])
        made["PackageNotFoundError"], made["get_package_prefix"] = NotFound, prefix
        made["get_package_share_directory"] = lambda _package: str(ROOT)
        modules = "launch launch.actions launch.event_handlers launch.launch_description_sources launch.substitutions"
        for module in f"{modules} launch_ros launch_ros.actions ament_index_python ament_index_python.packages".split():
            monkeypatch.setitem(sys.modules, module, SimpleNamespace(**made))
        start = runpy.run_path(str(FILES[name]))["start"]
        found: list[Any] = start(SimpleNamespace(launch_configurations=values))
        return found

    return run


def ready_line() -> str:
    """How the node says it, from its source, for it may not be importable here."""
    tree = ast.parse((ROOT / "spann3r_ros" / "ros" / "node.py").read_text(encoding="utf-8"))
    return next(
        str(ast.literal_eval(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "READY"
    )


def made_of(actions: list[Any], kind: str) -> list[Any]:
    return [action for action in actions if type(action).__name__ == kind]


@pytest.mark.fault("ROS tools")
def test_the_bag_is_played_once_when_the_node_says_that_it_is_active(launch_files: Callable[..., Any]) -> None:
    actions = launch_files("spann3r.launch.py", bag="/data/walk", namespace="robot1", log_level="error")
    [node] = made_of(actions, "LifecycleNode")
    assert node.options["arguments"][-2:] == ["--log-level", "robot1.spann3r.ready:=info"], "heard at every level"
    assert node.options["parameters"][1] == {"queue_policy": "all"}
    [handler] = made_of(actions, "RegisterEventHandler")
    assert actions.index(handler) < actions.index(node), "listens before the node speaks"
    [heard] = handler.arguments
    assert heard.options["target_action"] is node
    hear = heard.options["on_stderr"]
    line = f"[INFO] [1.0] [robot1.spann3r.ready]: {ready_line()}camera/image_raw\n".encode()
    assert not hear(SimpleNamespace(text=b"[INFO] [spann3r]: configured: spann3r\n"))
    assert not hear(SimpleNamespace(text=line[:50]))
    [play] = hear(SimpleNamespace(text=line[50:]))
    assert play.options["cmd"][:4] == ["ros2", "bag", "play", "/data/walk"]
    assert not hear(SimpleNamespace(text=line)), "deactivate and activate play nothing again"
    assert not heard.options["on_stdout"](SimpleNamespace(text=line))
    with pytest.raises(RuntimeError, match="ros2bag"):
        launch_files("spann3r.launch.py", installed=(), bag="/data/walk")


@pytest.mark.fault("ROS tools")
def test_rviz_shows_the_topics_and_the_frame_that_the_node_has(
    launch_files: Callable[..., Any], tmp_path: Path
) -> None:
    def rviz(**arguments: str) -> tuple[dict[str, str], list[str]]:
        [node] = made_of(launch_files("spann3r.launch.py", rviz="true", **arguments), "Node")
        return dict(node.options["remappings"]), node.options["arguments"]

    remaps, options = rviz()
    assert remaps["/camera/image_raw"] == "/camera/image_raw" and options[-2:] == ["-f", "map"]
    remaps, options = rviz(namespace="/robot1", image_topics="[front/image_raw, /b]", world_frame="site")
    assert remaps["/camera/image_raw"] == "/robot1/front/image_raw" and options[-2:] == ["-f", "site"]
    assert remaps["/spann3r/map"] == "/robot1/spann3r/map"
    own = tmp_path / "own.yaml"
    own.write_text("/**:\n  ros__parameters:\n    image_topics: [/a]\n    world_frame: world\n")
    remaps, options = rviz(params_file=str(own))
    assert remaps["/camera/image_raw"] == "/a" and options[-2:] == ["-f", "world"]
    own.write_text("- nothing")
    assert rviz(params_file=str(own), image_topic="/c")[0]["/camera/image_raw"] == "/c"
    actions = launch_files("spann3r.launch.py", installed=("ros2bag",), rviz="true")
    assert not made_of(actions, "Node") and made_of(actions, "LifecycleNode"), "the node runs without it"
    assert "rviz2" in made_of(actions, "LogInfo")[0].options["msg"]


@pytest.mark.fault("ROS tools")
def test_publish_tf_reaches_the_node_as_a_boolean(launch_files: Callable[..., Any]) -> None:
    for text, value in (("true", True), ("false", False)):
        [node] = made_of(launch_files("spann3r.launch.py", publish_tf=text), "LifecycleNode")
        assert node.options["parameters"][1] == {"publish_tf": value}


def test_a_preset_lies_above_the_defaults_and_below_what_the_user_says(
    launch_files: Callable[..., Any], tmp_path: Path
) -> None:
    def given(**arguments: str) -> list[Any]:
        [node] = made_of(launch_files("spann3r.launch.py", preset="spann3r_paper", **arguments), "LifecycleNode")
        parameters: list[Any] = node.options["parameters"]
        return parameters

    settings = yaml.safe_load((ROOT / "config" / "presets" / "spann3r_paper.yaml").read_text())
    assert given(device="cpu")[:3] == [str(ROOT / "config" / "spann3r.yaml"), settings, {"device": "cpu"}]
    own = str(tmp_path / "own.yaml")
    assert given(params_file=own)[:2] == [settings, own]
    with pytest.raises(RuntimeError, match=r"preset:=fast: expected .*spann3r_paper"):
        launch_files("spann3r.launch.py", preset="fast")


@pytest.mark.fault("ROS tools")
def test_the_demo_leaves_no_folder_whatever_still_writes_when_it_is_ended(
    launch_files: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(atexit, "register", lambda call, *words, **more: at_exit.append(partial(call, *words, **more)))
    actions = launch_files("demo.launch.py")
    [recorded] = [handler.arguments[0] for handler in made_of(actions, "RegisterEventHandler")]
    assert len(recorded.options["on_exit"](SimpleNamespace(returncode=0), None)) == 1
    assert recorded.options["on_exit"](SimpleNamespace(returncode=1), None) == []
    [folder] = tmp_path.iterdir()
    (folder / "walk").mkdir()
    [end] = at_exit  # Python calls it after launch has waited for its processes
    end()
    assert not list(tmp_path.iterdir())


def test_what_the_launch_files_start_is_in_the_manifest() -> None:
    manifest = (ROOT / "package.xml").read_text()
    for package in ("ros2bag", "ros2run", "rosbag2_storage_mcap", "rviz2", "launch", "launch_ros"):
        assert f"<exec_depend>{package}</exec_depend>" in manifest
