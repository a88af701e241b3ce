"""docs/topics.md against the graph of the running node."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from node_process import NodeProcess
from robot import Robot
from sensor_msgs.msg import Image

Start = Callable[..., NodeProcess]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "topics.md"
OF_RCLPY = re.compile(r"^/rosout$|^/parameter_events$|/transition_event$")
SERVICES_OF_RCLPY = re.compile(r"parameter|get_available|get_transition_graph|type_description|logger")


def table(heading: str) -> dict[str, str]:
    """Resolved names and types of one table."""
    text = DOCUMENT.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", text, re.MULTILINE)
    return {"/" + name.replace("~", "spann3r", 1).lstrip("/"): kind for name, kind in rows}


def test_the_tables_name_exactly_what_the_node_has(start: Start, robot: Robot) -> None:
    start(image_transport="raw", image_qos="reliable")
    robot.wait(lambda: robot.node.count_subscribers("/camera/image_raw"), "the active node")
    robot.synchronize()
    graph = robot.node
    published = dict(graph.get_publisher_names_and_types_by_node("spann3r", "/"))
    subscribed = dict(graph.get_subscriber_names_and_types_by_node("spann3r", "/"))
    services = dict(graph.get_service_names_and_types_by_node("spann3r", "/"))
    assert {name: [kind] for name, kind in table("Published").items()} == {
        name: kinds for name, kinds in published.items() if not OF_RCLPY.search(name)
    }
    raw = {name: [kind] for name, kind in table("Subscribed").items() if not name.endswith("/compressed")}
    assert raw == {name: kinds for name, kinds in subscribed.items() if not OF_RCLPY.search(name)}
    assert {name: [kind] for name, kind in table("Services").items()} == {
        name: kinds for name, kinds in services.items() if not SERVICES_OF_RCLPY.search(name)
    }


def test_two_nodes_live_side_by_side(start: Start, robot: Robot) -> None:
    start(["-r", "__node:=left"], image_topics=["/left/image"])
    start(["-r", "__node:=right"], image_topics=["/right/image"])
    for side in ("left", "right"):
        robot.publisher(Image, f"/{side}/image")
        robot.synchronize(f"/{side}")
