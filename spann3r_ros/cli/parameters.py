"""``parameters``: the node's parameters as a table or a YAML file, both generated from config.py and node_config.py.

Writing them renews the tables of docs/topics.md too, where ROS 2 is installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.registry import parameter_groups
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.parameter import Parameter, parameters

YAML_FILE = Path("config/spann3r.yaml")
MARKDOWN_FILE = Path("docs/parameters.md")
ORIGIN = "Generated from spann3r_ros/config.py and node_config.py by `python -m spann3r_ros parameters --write .`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--yaml", action="store_true", help="print a ROS parameter file with all defaults")
    choice.add_argument("--markdown", action="store_true", help="print docs/parameters.md")
    choice.add_argument(
        "--write", type=Path, metavar="FOLDER", help=f"write {YAML_FILE} and {MARKDOWN_FILE} below the package's folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print or write."""
    if arguments.write is not None:
        for name, content in ((YAML_FILE, as_yaml()), (MARKDOWN_FILE, as_markdown())):
            path = arguments.write / name
            if not path.parent.is_dir():
                raise ConfigError(
                    "--write", got=arguments.write, expected=f"the package's folder, with {path.parent.name}/ in it"
                )
            path.write_text(content)
            print(path)
        _renew_topics(arguments.write)
        return 0
    sys.stdout.write(as_yaml() if arguments.yaml else as_markdown() if arguments.markdown else as_text())
    return 0


def _renew_topics(root: Path) -> None:
    """The generated parts of docs/topics.md."""
    try:
        from spann3r_ros.ros import documentation
    except ImportError as error:
        print(f"docs/topics.md is as it was: its tables need ROS 2 and the package's messages ({error})")
        return
    path = root / documentation.FILE
    if path.is_file():
        path.write_text(documentation.renewed(path.read_text(encoding="utf-8"), root), encoding="utf-8")
        print(path)


def as_yaml() -> str:
    """A parameter file for `--params-file`, every parameter at its default and explained."""
    lines = [f"# {ORIGIN}", "/**:", "  ros__parameters:"]
    group = ""
    for parameter in parameters(NodeConfig, parameter_groups()):
        *path, leaf = parameter.name.split(".")
        if path and path[0] != group:
            lines.append(f"    {path[0]}:")
        group = path[0] if path else ""
        indent = "    " * (len(path) + 1) if not path else "      "
        lines += [f"{indent}# {line}" for line in _explanation(parameter)]
        # ROS cannot tell the type of an empty list: one empty name stands for none.
        value = (parameter.default or [""]) if parameter.kind is list else parameter.default
        lines.append(f"{indent}{leaf}: {_scalar(value)}")
    return "\n".join(lines) + "\n"


def as_markdown() -> str:
    """docs/parameters.md."""
    lines = [
        f"<!-- {ORIGIN} -->",
        "# Parameters",
        "",
        "Set them with `--params-file config/spann3r.yaml`, in a launch file, or with `-p name:=value`. A wrong value "
        "is refused with the reason. *Live* ones change while the node runs (`ros2 param set`); the others are "
        "read-only from configure to cleanup.",
        "",
        "| parameter | type | default | allowed | unit | live | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for parameter in parameters(NodeConfig, parameter_groups()):
        cells = [
            f"`{parameter.name}`",
            _type_name(parameter),
            f"`{_scalar(parameter.default)}`",
            parameter.range_text().replace("|", "\\|"),
            parameter.unit,
            "yes" if parameter.live else "",
            parameter.help.replace("|", "\\|"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Beside these, rclpy declares `use_sim_time`, and `qos_overrides.<topic>.publisher.*` and `.subscription.*` "
        "for the topics of the node.",
    ]
    return "\n".join(lines) + "\n"


def as_text() -> str:
    """One paragraph per parameter, for the terminal."""
    paragraphs = []
    for parameter in parameters(NodeConfig, parameter_groups()):
        head = f"{parameter.name} = {_scalar(parameter.default)}"
        paragraphs.append("\n".join([head, *(f"    {line}" for line in _explanation(parameter))]))
    return "\n".join(paragraphs) + "\n"


def _explanation(parameter: Parameter) -> Iterator[str]:
    yield parameter.help
    facts = [_type_name(parameter), parameter.range_text(), parameter.unit and f"[{parameter.unit}]"]
    yield ", ".join(filter(None, [*facts, "live" if parameter.live else ""]))


def _type_name(parameter: Parameter) -> str:
    return {bool: "bool", int: "integer", float: "double", str: "string", list: "string list"}[parameter.kind]


def _scalar(value: Any) -> str:
    """The value as YAML writes it, on one line; a float always shows a point, or ROS would read an integer."""
    if isinstance(value, float):
        text = repr(value)
        return text if "e" not in text or "." in text else text.replace("e", ".0e")
    text = yaml.safe_dump(
        value, default_flow_style=True, default_style='"' if isinstance(value, str) else None, width=1000
    )
    return text.removesuffix("\n").removesuffix("\n...")
