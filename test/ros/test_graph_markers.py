"""The pose graph on ~/graph and loops in ~/status, of a real node; and ~/close_loops."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from library import walk
from rcl_interfaces.srv import GetParameters
from robot import LATCHED, Robot, image_message
from sensor_msgs.msg import Image
from spann3r_ros.msg import ReconstructionStatus
from std_srvs.srv import SetBool
from visualization_msgs.msg import Marker, MarkerArray

from spann3r_ros.mapping.graph_corrections import EdgeView, GraphView
from spann3r_ros.mapping.pose_graph import JOINT, LOOP, ODOMETRY
from spann3r_ros.ros.graph_markers import graph_markers
from spann3r_ros.ros.node import Spann3rNode

StartInside = Callable[..., Spann3rNode]


def places(count: int) -> list[np.ndarray]:
    return [np.array([2.0 * number, 0.0, 0.0]) for number in range(count)]


def by_name(message: MarkerArray) -> dict[str, Marker]:
    return {marker.ns: marker for marker in message.markers[1:]}


def test_each_kind_has_a_namespace_and_what_was_rejected_one_of_its_own() -> None:
    a, b, c = places(3)
    view = GraphView(
        [a, b, c],
        [
            EdgeView(JOINT, a, b, True),
            EdgeView(JOINT, b, c, True),
            EdgeView(LOOP, a, c, True),
            EdgeView(LOOP, b, c, False),
        ],
    )
    message = graph_markers(view, 5 * 10**9, "map")
    assert message.markers[0].action == Marker.DELETEALL
    assert all(marker.header.frame_id == "map" and marker.header.stamp.sec == 5 for marker in message.markers)
    markers = by_name(message)
    assert [point.x for point in markers["submaps"].points] == [0.0, 2.0, 4.0]
    assert markers["submaps"].type == Marker.SPHERE_LIST and markers["submaps"].scale.x == pytest.approx(0.2)
    assert [point.x for point in markers[JOINT].points] == [0.0, 2.0, 2.0, 4.0]
    assert [point.x for point in markers[LOOP].points] == [0.0, 4.0]
    assert [point.x for point in markers["rejected"].points] == [2.0, 4.0]
    assert markers[ODOMETRY].action == Marker.DELETE and not markers[ODOMETRY].points


def test_an_empty_graph_can_be_shown() -> None:
    markers = by_name(graph_markers(GraphView(), 0, "map"))
    assert all(marker.action == Marker.DELETE and marker.scale.x > 0 for marker in markers.values())


@pytest.mark.skipif(importlib.util.find_spec("gtsam") is None, reason="GTSAM has no wheel for this Python")
def test_a_node_with_submaps_publishes_its_graph_and_switches_loops(start_inside: StartInside, robot: Robot) -> None:
    start_inside(submap__frames=4, submap__overlap=2, map_rate=20.0, status_rate=20.0)
    graphs = robot.collect(MarkerArray, "/spann3r/graph", LATCHED)
    status = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    answer = robot.call(SetBool, "/spann3r/close_loops", SetBool.Request(data=True))
    assert answer.success and answer.message == "loops are looked for"
    asked = robot.call(GetParameters, "/spann3r/get_parameters", GetParameters.Request(names=["loops.enabled"]))
    assert asked.values[0].bool_value
    for frame in walk(10):
        camera.publish(image_message(frame))

    def markers() -> dict[str, Any]:
        return by_name(graphs[-1]) if graphs else {}

    robot.wait(lambda: bool(markers()) and len(markers()["submaps"].points) >= 3, "three submaps in ~/graph")
    robot.wait(lambda: bool(status) and status[-1].submaps >= 3, "three submaps in ~/status")
    assert len(markers()[JOINT].points) >= 2 and markers()[LOOP].action == Marker.DELETE
    assert (status[-1].loops, status[-1].loops_rejected) == (0, 0)
    assert "joined to submap" in status[-1].last_correction
    answer = robot.call(SetBool, "/spann3r/close_loops", SetBool.Request(data=False))
    assert answer.success and answer.message == "loops are not looked for any more"


def test_loops_cannot_be_switched_on_without_gtsam(
    start_inside: StartInside, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_inside()
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "gtsam" else real(name, *rest))
    answer = robot.call(SetBool, "/spann3r/close_loops", SetBool.Request(data=True))
    assert not answer.success and "spann3r_ros[mapping]" in answer.message
