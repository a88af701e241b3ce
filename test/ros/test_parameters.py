"""Declaring, checking and changing parameters, on a real node without its network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from spann3r_ros.complaints import Complaints, Severity
from spann3r_ros.config import from_mapping, to_mapping
from spann3r_ros.errors import ConfigError
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.parameter import parameters
from spann3r_ros.reconstruction import parameter_groups
from spann3r_ros.ros.parameters import NodeParameters, descriptor

GROUPS = parameter_groups()
DEFAULTS = to_mapping(from_mapping(NodeConfig, {}, GROUPS))


@pytest.fixture
def context(domain: int) -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def node(context: rclpy.Context) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make(**overrides: Any) -> Node:
        values = [RosParameter(name.replace("__", "."), value=value) for name, value in overrides.items()]
        nodes.append(Node("spann3r", context=context, parameter_overrides=values))
        return nodes[-1]

    yield make
    for made in nodes:
        made.destroy_node()


def declare(
    node: Node, changed: Callable[[set[str]], None] = lambda _names: None, complaints: Complaints | None = None
) -> NodeParameters:
    return NodeParameters(node, GROUPS, complaints or Complaints(lambda _severity, _text: None), changed)


def setting(node: Node, name: str, value: Any) -> str:
    """The reason why a change was refused, or nothing."""
    [result] = node.set_parameters([RosParameter(name, value=value)])
    return "" if result.successful else result.reason


def test_every_parameter_is_declared_with_its_default_and_its_description(node: Callable[..., Node]) -> None:
    made = node()
    declared = declare(made)
    assert to_mapping(declared.config) == DEFAULTS
    for parameter in parameters(NodeConfig, GROUPS):
        described = made.describe_parameter(parameter.name)
        assert described.description.startswith(parameter.help)
        assert ("read-only" in described.additional_constraints) != parameter.live
        assert all(str(choice) in described.additional_constraints for choice in parameter.choices)
        if parameter.unit:
            assert described.description.endswith(f"[{parameter.unit}]")


def test_ranges_are_in_the_descriptor() -> None:
    by_name = {parameter.name: parameter for parameter in parameters(NodeConfig, GROUPS)}
    whole = descriptor(by_name["memory.working_frames"]).integer_range[0]
    assert (whole.from_value, whole.to_value) == (1, 64)
    real = descriptor(by_name["map.min_confidence"]).floating_point_range[0]
    assert (real.from_value, real.to_value) == (0.0, 1.0)


def test_overrides_are_taken_and_whole_numbers_are_fine_for_floats(node: Callable[..., Node]) -> None:
    made = node(max_rate=5, map__voxel_size=0.1, image_topics=["/a", "/b"], camera_names=[""])
    declared = declare(made)
    assert (
        made.get_parameter("max_rate").type_ == made.get_parameter("map.voxel_size").type_ == RosParameter.Type.DOUBLE
    )
    assert not made.describe_parameter("max_rate").dynamic_typing, "and no later value changes the type"
    assert (declared.config.max_rate, type(declared.config.max_rate)) == (5.0, float)
    assert declared.config.map.voxel_size == 0.1
    assert (declared.config.image_topics, declared.config.camera_names) == (["/a", "/b"], [])
    declared.check()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("memory__working_frames", 0, "1 .. 64"),
        ("map__min_confidence", 1.5, "0 .. 1"),
        ("device", "tpu", "auto | cpu | cuda"),
        ("queue_size", "many", "int"),
        ("image_topics", "/one", "list"),
    ],
)
def test_a_wrong_override_keeps_the_default_and_bars_configure_until_corrected(
    node: Callable[..., Node], name: str, value: Any, reason: str
) -> None:
    made = node(**{name: value})
    declared = declare(made)
    dotted = name.replace("__", ".")
    assert to_mapping(declared.config) == DEFAULTS
    with pytest.raises(ConfigError) as refused:
        declared.check()
    assert dotted in str(refused.value) and reason in str(refused.value) and str(value) in str(refused.value)
    default = DEFAULTS[dotted]
    assert setting(made, dotted, default) == ""
    declared.check()


def test_what_is_wrong_with_parameters_is_a_complaint_until_it_is_corrected(node: Callable[..., Node]) -> None:
    complaints = Complaints(lambda _severity, _text: None)
    made = node(map__voxel_size=-1.0, voxel_size=0.5)
    declare(made, complaints=complaints)
    refused, unknown = complaints.current()
    assert (refused.kind, refused.severity) == ("map.voxel_size", Severity.ERROR)
    assert "got -1.0" in refused.text and "0.0001 .. 100" in refused.text
    assert unknown.text == "unknown parameter 'voxel_size' is ignored: did you mean map.voxel_size or queue_size?"
    assert setting(made, "map.voxel_size", 0.1) == ""
    assert complaints.current() == [unknown], "nobody can correct it while the node runs"


def test_changes_while_configured(node: Callable[..., Node]) -> None:
    changed: list[set[str]] = []
    made = node()
    declared = declare(made, changed.append)
    assert setting(made, "device", "cpu") == ""
    declared.locked = True
    refused = setting(made, "device", "auto")
    assert "'device' is read-only while the node is configured" in refused and "cleanup" in refused
    assert declared.config.device == "cpu"
    assert setting(made, "map.voxel_size", 0.5) == ""
    assert declared.config.map.voxel_size == 0.5
    assert changed == [{"device"}, {"map.voxel_size"}]
    assert "0.0001 .. 100" in setting(made, "map.voxel_size", 1000.0) or "range" in setting(
        made, "map.voxel_size", 1000.0
    )
    assert declared.config.map.voxel_size == 0.5
    declared.locked = False
    assert setting(made, "device", "auto") == ""


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"odom_frame": "odom"}, "both, or neither"),
        ({"image_topics": ["/a", "/a"]}, "each topic once"),
        ({"image_topics": [""]}, "at least one"),
        ({"image_topics": ["/front camera"]}, "'/front camera'; expected a ROS name"),
        ({"camera_names": ["x", "y"]}, "one for each of the 1 image_topics"),
        ({"world_frame": "odom", "odom_frame": "odom", "base_frame": "base"}, "different names"),
    ],
)
def test_parameters_that_contradict_each_other(node: Callable[..., Node], wrong: dict[str, Any], reason: str) -> None:
    declared = declare(node(**wrong))
    with pytest.raises(ConfigError, match=reason):
        declared.check()
