from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spann3r_ros.cli.main import main
from spann3r_ros.cli.parameters import as_markdown, as_yaml
from spann3r_ros.config import from_mapping, to_mapping
from spann3r_ros.models.registry import parameter_groups
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.parameter import parameters

ROOT = Path(__file__).resolve().parents[2]


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names of a nested mapping."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return values


def test_the_files_are_not_stale() -> None:
    renew = "run `python -m spann3r_ros parameters --write .`"
    assert (ROOT / "config" / "spann3r.yaml").read_text(encoding="utf-8") == as_yaml(), renew
    assert (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8") == as_markdown(), renew


def test_the_yaml_file_holds_every_parameter_at_its_default_with_its_type() -> None:
    values = flat(yaml.safe_load(as_yaml())["/**"]["ros__parameters"])
    defaults = to_mapping(from_mapping(NodeConfig, {}, parameter_groups()))
    assert list(values) == list(defaults)
    for name, value in values.items():
        without_names = [] if value == [""] else value
        assert without_names == defaults[name] and type(without_names) is type(defaults[name]), name
    named = {name: [] if value == [""] else value for name, value in values.items()}
    assert to_mapping(from_mapping(NodeConfig, named, parameter_groups())) == defaults


def test_floats_show_a_point_because_ros_would_read_an_integer() -> None:
    kinds = {parameter.name.split(".")[-1]: parameter.kind for parameter in parameters(NodeConfig, parameter_groups())}
    for name, text in re.findall(r"^ +(\w+): (\S+)$", as_yaml(), re.MULTILINE):
        if kinds[name] is float:
            assert "." in text, name


def test_the_table_has_a_row_with_unit_and_range_for_each() -> None:
    rows = {row.split("`")[1]: row for row in as_markdown().splitlines() if row.startswith("| `")}
    assert list(rows) == [parameter.name for parameter in parameters(NodeConfig, parameter_groups())]
    assert "`map.voxel_size` | double | `0.02` | 0.0001 .. 100 | map units | yes |" in rows["map.voxel_size"]
    assert "auto \\| cpu \\| cuda" in rows["device"]


def test_writing_and_printing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parameters", "--write", str(tmp_path)]) == 2
    assert "with config/ in it" in capsys.readouterr().err
    for folder in ("config", "docs"):
        (tmp_path / folder).mkdir()
    assert main(["parameters", "--write", str(tmp_path)]) == 0
    assert (tmp_path / "config" / "spann3r.yaml").read_text() == as_yaml()
    capsys.readouterr()
    assert main(["parameters", "--yaml"]) == 0
    assert capsys.readouterr().out == as_yaml()
    assert main(["parameters"]) == 0
    assert "map.voxel_size = 0.02" in capsys.readouterr().out
