from __future__ import annotations

import dataclasses

import pytest

from spann3r_ros.config import Config, from_mapping, to_mapping
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.registry import parameter_groups
from spann3r_ros.models.spann3r.parameters import Spann3rParameters
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.parameter import parameters


def test_every_parameter_is_described_and_its_default_allowed() -> None:
    entries = list(parameters(NodeConfig, parameter_groups()))
    assert len({entry.name for entry in entries}) == len(entries) > 40
    for entry in entries:
        assert entry.help.endswith("."), entry.name
        assert entry.check(entry.default) == entry.default


def test_names_and_values_go_both_ways() -> None:
    values = {"memory.working_frames": 3, "device": "cpu", "image_topics": ["a", "b"]}
    config = from_mapping(NodeConfig, values, parameter_groups())
    assert (config.of(Spann3rParameters).working_frames, config.device, config.image_topics) == (3, "cpu", ["a", "b"])
    assert from_mapping(NodeConfig, to_mapping(config), parameter_groups()) == config
    assert NodeConfig().image_topics is not NodeConfig().image_topics


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("memory.working_frames", 0, r"'memory.working_frames': got 0; expected int 1 .. 64 frames"),
        ("memory.working_frames", True, "got True; expected int"),
        ("memory.working_frames", 2.0, r"got 2.0; expected int"),
        ("device", "tpu", r"got 'tpu'; expected str auto \| cpu \| cuda"),
        ("map.voxel_size", float("nan"), "got nan"),
        ("map.voxel_size", "small", "got 'small'; expected float"),
        (
            "memory.workingframes",
            2,
            r"unknown parameter: got memory.workingframes; expected one of memory.working_frames",
        ),
    ],
)
def test_wrong_values_are_refused_with_the_range(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(Config, {name: value}, parameter_groups())


def test_depth_topics_are_as_many_as_image_topics() -> None:
    NodeConfig(image_topics=["a", "b"], depth_topics=["none", "b/depth"]).check()
    with pytest.raises(ConfigError, match=r"'depth_topics'.*one for each of the 2 image_topics"):
        NodeConfig(image_topics=["a", "b"], depth_topics=["b/depth"]).check()


def test_whole_numbers_pass_for_real_ones() -> None:
    assert from_mapping(Config, {"map.voxel_size": 1}).map.voxel_size == 1.0


def test_the_node_has_all_parameters_of_a_reconstruction() -> None:
    node = {entry.name: entry for entry in parameters(NodeConfig, parameter_groups())}
    for entry in parameters(Config, parameter_groups()):
        assert dataclasses.replace(node[entry.name]) == entry


def test_a_family_brings_a_group_of_its_own() -> None:
    groups = {entry.name.partition(".")[0] for entry in parameters(Config, parameter_groups())}
    assert {"memory", "dust3r", "map", "pose"} <= groups
    assert "memory.working_frames" not in {entry.name for entry in parameters(Config)}
    config = Config()
    config.of(Spann3rParameters).working_frames = 7
    assert config.of(Spann3rParameters).working_frames == 7 and to_mapping(config)["memory.working_frames"] == 7


def test_a_value_that_is_called_otherwise_now_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigError, match=r"got 'organised'; expected str filtered .*It is called 'organized' now"):
        from_mapping(NodeConfig, {"cloud": "organised"})


@pytest.mark.fault("encodings", case="06")
def test_a_value_of_a_certain_form_is_refused_with_the_form() -> None:
    assert from_mapping(Config, {"image.range": "7000..8000"}).image.range == "7000..8000"
    with pytest.raises(ConfigError, match=r"image\.range.*got '9\.\.5'.*full \| auto \| LOW\.\.HIGH"):
        from_mapping(Config, {"image.range": "9..5"})


@pytest.mark.fault("ROS tools", case="10")
def test_frames_lose_their_leading_slash() -> None:
    given = {"world_frame": "/map", "odom_frame": "odom", "base_frame": "//robot/base"}
    config = from_mapping(NodeConfig, given)
    assert (config.world_frame, config.odom_frame, config.base_frame) == ("map", "odom", "robot/base")
    config = from_mapping(NodeConfig, {**given, "odom_frame": "/map"})
    with pytest.raises(ConfigError, match="different names"):
        config.check()
