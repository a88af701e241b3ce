"""The options that set parameters, shared by the subcommands that run a model without ROS."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spann3r_ros.cli.presets import preset_file, preset_files
from spann3r_ros.config import Config, from_mapping
from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.parameter import parameters
from spann3r_ros.recordings.structured import read_yaml
from spann3r_ros.runs.chosen_model import all_groups, groups_for


def add_parameter_options(parser: argparse.ArgumentParser) -> None:
    """Declare ``--preset``, ``--config`` and ``--set``."""
    group = parser.add_argument_group("parameters (docs/parameters.md)")
    presets = " | ".join(preset_files()) or "none is installed"
    group.add_argument("--preset", metavar="NAME", help=f"settings that ship; other options count more: {presets}")
    group.add_argument("--config", type=Path, metavar="YAML", help="parameter file, plain or of the ROS node")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one parameter, e.g. --set device=cpu; repeatable",
    )


def read_config(file: Path | None, settings: Sequence[str], preset: str | None = None) -> Config:
    """The configuration of a preset, a parameter file, which counts more, and ``NAME=VALUE`` texts, which do most.

    Raises:
        ConfigError: what is unknown or wrong.
    """
    values = read_parameter_file(preset_file(preset)) if preset is not None else {}
    values |= read_parameter_file(file) if file is not None else {}
    values |= parse_settings(settings)
    return from_mapping(Config, values, groups_for(values))


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts as values of the parameters' types."""
    known = {entry.name: entry for entry in parameters(Config, all_groups())}
    values: dict[str, Any] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator:
            raise ConfigError("--set", got=setting, expected="NAME=VALUE")
        kind = known[name].kind if name in known else str
        try:
            if kind is bool:
                values[name] = {"true": True, "false": False}[text.lower()]
            elif kind is list:
                values[name] = [item for item in text.split(",") if item]
            else:
                values[name] = kind(text)
        except (ValueError, KeyError) as error:
            raise ConfigError(f"parameter '{name}'", got=repr(text), expected=kind.__name__) from error
    return values


def read_parameter_file(path: Path) -> dict[str, Any]:
    """Dotted names and values of a YAML file; a node's file may also hold the node's own, which are ignored."""
    try:
        content = read_yaml(path)
    except DataError as error:
        raise ConfigError("parameter file", got=error, expected="a YAML file") from error
    if not isinstance(content, dict):
        raise ConfigError("parameter file", got=f"{path}: {type(content).__name__}", expected="names and values")
    first = next(iter(content.values()), None)
    if isinstance(first, dict) and isinstance(first.get("ros__parameters"), dict):
        node_only = {entry.name for entry in parameters(NodeConfig)} - {entry.name for entry in parameters(Config)}
        values = dict(_flat(first["ros__parameters"]))
        return {name: value for name, value in values.items() if name not in node_only}
    return dict(_flat(content))


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested names joined by dots."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
