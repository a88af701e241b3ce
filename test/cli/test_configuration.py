import argparse
from pathlib import Path

import pytest

from spann3r_ros.cli.configuration import add_parameter_options, read_config
from spann3r_ros.config import Config, from_mapping
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.registry import parameter_groups
from spann3r_ros.models.spann3r.parameters import Spann3rParameters

ROOT = Path(__file__).parents[2]


def read(*options: str) -> Config:
    parser = argparse.ArgumentParser()
    add_parameter_options(parser)
    arguments = parser.parse_args(list(options))
    return read_config(arguments.config, arguments.set)


def test_options_have_the_types_of_the_parameters() -> None:
    settings = ["device=cpu", "map.voxel_size=1e-2", "memory.working_frames=3", "pose.use_camera_info=False"]
    config = read(*(part for setting in settings for part in ("--set", setting)))
    assert (config.device, config.map.voxel_size, config.of(Spann3rParameters).working_frames) == ("cpu", 0.01, 3)
    assert config.pose.use_camera_info is False


def test_the_nodes_own_file_is_understood() -> None:
    assert read("--config", str(ROOT / "config" / "spann3r.yaml")) == from_mapping(Config, {}, parameter_groups())


def test_options_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("device: cpu\nmap: {voxel_size: 0.5, max_range: 3}\nmemory.working_frames: 2\n")
    config = read("--config", str(tmp_path / "p.yaml"), "--set", "map.voxel_size=0.25")
    assert (config.device, config.map.voxel_size, config.map.max_range) == ("cpu", 0.25, 3.0)
    assert config.of(Spann3rParameters).working_frames == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [", "YAML"), ("- 1", "names and values"), ("voxel: 1", "unknown parameter"), ("device: tpu", "auto")],
)
def test_wrong_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read("--config", str(tmp_path / "p.yaml"))


@pytest.mark.parametrize("setting", ["device", "memory.working_frames=many", "pose.use_camera_info=maybe", "x=1"])
def test_wrong_options_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError):
        read("--set", setting)
