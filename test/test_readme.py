"""The README promises nothing that the code does not have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spann3r_ros.cli.main import SUBCOMMANDS
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.parameter import parameters

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "spann3r_ros").rglob("*.py")))


def names_below_the_node(text: str) -> set[str]:
    """``~/map`` and its like."""
    return set(re.findall(r"`(~/[a-z_/]+)`", text))


def test_topics_and_services_are_those_of_the_documentation() -> None:
    # docs/topics.md is compared with the running node's graph by test/ros/test_documentation.py.
    documented = names_below_the_node((ROOT / "docs" / "topics.md").read_text(encoding="utf-8"))
    assert names_below_the_node(README) == documented - {"~/change_state", "~/get_state"}


def test_every_command_exists() -> None:
    used = set(re.findall(r"python -m spann3r_ros ([a-z_]+)", README))
    assert used and used <= set(SUBCOMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|    )make ([a-z-]+)", README)) <= targets


def test_every_parameter_exists() -> None:
    known = {entry.name for entry in parameters(NodeConfig)}
    named = {"image_topics", "image_transport", "image_qos", "map_rate", "autostart", "publish_tf", "checkpoint"}
    assert named | {"odom_frame", "base_frame"} <= known and all(name in README for name in named)


def test_the_messages_of_the_troubleshooting_table_are_those_of_the_node() -> None:
    table = README.split("## When nothing happens")[1].split("##")[0]
    rows = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(rows) >= 8
    sentences = re.sub(r'"\s*\n\s*f?"', "", SOURCE)  # a string that goes on in the next line
    for row in rows:
        for part in re.split(r"/camera/image_raw|'raw'", row):
            assert part.strip(" '") in sentences, row


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(((?!http|#)[^)#]+)", README))))
def test_every_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).is_file()
