"""docs/topics.md is what its generator gives, and what the running node has."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from nav_msgs.msg import Odometry
from node_process import NodeProcess
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot import RELIABLE, Robot
from sensor_msgs.msg import Image

from spann3r_ros.errors import DataError
from spann3r_ros.ros.documentation import FILE, INPUTS, INTERFACES, OF_THE_LIFECYCLE, interface_text, renewed, type_name
from spann3r_ros.ros.outputs import OUTPUTS
from spann3r_ros.ros.services import SERVICES

Start = Callable[..., NodeProcess]
ROOT = Path(__file__).resolve().parents[2]
OF_RCLPY = re.compile(r"^/rosout$|^/parameter_events$|/transition_event$")
SERVICES_OF_RCLPY = re.compile(r"parameter|get_available|get_transition_graph|type_description|logger")


def resolved(name: str) -> str:
    return "/" + name.replace("~", "spann3r", 1).lstrip("/")


def policies(profile: QoSProfile) -> tuple[ReliabilityPolicy, DurabilityPolicy]:
    latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    return profile.reliability, DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE


def test_the_file_is_not_stale() -> None:
    text = (ROOT / FILE).read_text(encoding="utf-8")
    assert renewed(text, ROOT) == text, "run `python -m spann3r_ros parameters --write .`"


def test_a_file_that_lost_a_part_is_refused() -> None:
    text = (ROOT / FILE).read_text(encoding="utf-8").replace("generated: services", "services")
    with pytest.raises(DataError, match="no place for the part 'services'"):
        renewed(text, ROOT)


def test_every_interface_has_its_table() -> None:
    files = {f"{path.parent.name}/{path.name}" for kind in ("msg", "srv") for path in (ROOT / kind).iterdir()}
    assert files == set(INTERFACES)
    table = interface_text(ROOT / "srv" / "SaveMap.srv")
    assert table.startswith("### SaveMap\n\nWrites the map, the trajectory")
    request, answer = table.split("| request | type | meaning |")[1].split("| answer | type | meaning |")
    assert "| `path` | `string` | folder to write to" in request and "`points`" not in request
    assert "| `files` | `string[]` | full paths of the files written |" in answer


@pytest.mark.ros_tool("tf2_ros", stand_in=True)
def test_the_node_has_exactly_these_topics_and_services(start: Start, robot: Robot) -> None:
    depth = "camera/depth_registered/image_raw"
    robot.node.create_publisher(Odometry, "/odometry", RELIABLE)  # whose type decides
    topics = {"depth_topics": [depth], "odometry_topic": "odometry"}
    start(image_transport="raw", image_qos="reliable", model="pi3x", checkpoint="random", **topics)
    for topic in ("/camera/image_raw", "/odometry"):
        robot.wait(lambda topic=topic: robot.node.count_subscribers(topic), "the active node")
    robot.synchronize()
    graph = robot.node
    published = dict(graph.get_publisher_names_and_types_by_node("spann3r", "/"))
    assert {resolved(row.topic): [type_name(row.type)] for row in OUTPUTS} == {
        name: kinds for name, kinds in published.items() if not OF_RCLPY.search(name)
    }
    subscribed = dict(graph.get_subscriber_names_and_types_by_node("spann3r", "/"))
    raw = [row for row in INPUTS if not row.topic.endswith("/compressed")]
    assert {resolved(row.topic): [type_name(row.type)] for row in raw} == {
        name: kinds for name, kinds in subscribed.items() if not OF_RCLPY.search(name)
    }
    services = dict(graph.get_service_names_and_types_by_node("spann3r", "/"))
    assert {resolved(row.name): [type_name(row.type)] for row in (*SERVICES, *OF_THE_LIFECYCLE)} == {
        name: kinds for name, kinds in services.items() if not SERVICES_OF_RCLPY.search(name)
    }
    for row in OUTPUTS:
        offered = graph.get_publishers_info_by_topic(resolved(row.topic))
        assert [policies(each.qos_profile) for each in offered] == [policies(row.qos())], row.topic
    for entry in raw:
        asked = graph.get_subscriptions_info_by_topic(resolved(entry.topic))
        expected = (ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE) if entry.qos is None else policies(entry.qos)
        assert [policies(each.qos_profile) for each in asked] == [expected], entry.topic


def test_two_nodes_live_side_by_side(start: Start, robot: Robot) -> None:
    start(["-r", "__node:=left"], image_topics=["/left/image"])
    start(["-r", "__node:=right"], image_topics=["/right/image"])
    for side in ("left", "right"):
        robot.publisher(Image, f"/{side}/image")
        robot.synchronize(f"/{side}")
