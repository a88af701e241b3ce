"""A family that nobody foresaw: one folder and one row are all that it takes to be listed, recognized, set and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import random_frames
from toy_family.architecture import ToyArchitecture
from toy_family.family import TOY

from spann3r_ros.cli import parameters as parameters_command
from spann3r_ros.cli.main import main
from spann3r_ros.config import Config, from_mapping
from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.models import registry
from spann3r_ros.models.checkpoint.reading import read_checkpoint, write_checkpoint
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.parameter import parameters
from spann3r_ros.reconstruction import Reconstruction


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.FAMILIES, "toy", TOY)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    path = tmp_path / "plane.safetensors"
    write_checkpoint(path, {"plane": torch.tensor([2.0, 4.0])}, ToyArchitecture())
    return str(path)


def test_it_is_listed_with_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert "one plane, whatever the images show" in listed and "toy-plane" in listed
    assert registry.official_file("toy-plane").file == "plane.pth"


def test_its_weights_are_recognized_with_and_without_metadata(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = read_checkpoint(weights)
    assert (checkpoint.family, checkpoint.architecture, checkpoint.origin) == ("toy", ToyArchitecture(), "metadata")
    torch.save({"plane": torch.ones(3)}, tmp_path / "plane.pth")
    checkpoint = read_checkpoint(tmp_path / "plane.pth")
    assert (checkpoint.architecture, checkpoint.origin) == (ToyArchitecture(rows=3), "shapes")
    assert main(["models", "check", weights]) == 0
    assert "a plane for images (16, 24)" in capsys.readouterr().out


def test_it_is_named_where_others_are_refused(weights: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"parameter 'model': got 'toys'; expected spann3r \| dust3r.* \| toy"):
        registry.family("toys")
    with pytest.raises(CheckpointError, match=r"another family.*got toy; expected spann3r\. Set model to toy"):
        Reconstruction.from_config(Config(checkpoint=weights, device="cpu"))
    torch.save({"nothing": torch.ones(3)}, tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match=r"unknown network.*plane \(Toy\)"):
        read_checkpoint(tmp_path / "nothing.pth")


def test_its_parameters_appear_everywhere_and_reach_it(weights: str) -> None:
    groups = registry.parameter_groups()
    assert "toy.gain" in {entry.name for entry in parameters(NodeConfig, groups)}
    assert "\n    toy:\n      # What its plane's distance" in parameters_command.as_yaml()
    assert "| `toy.gain` | double | `1.0` | 0.1 .. 10 |  | yes |" in parameters_command.as_markdown()
    with pytest.raises(ConfigError, match=r"'toy.gain': got 11.0; expected float 0.1 .. 10"):
        from_mapping(Config, {"toy.gain": 11.0}, groups)
    config = from_mapping(Config, {"model": "toy", "checkpoint": weights, "device": "cpu", "toy.gain": 2.0}, groups)
    reconstruction = Reconstruction.from_config(config)
    (answer,) = reconstruction.process(random_frames(1)[0])
    np.testing.assert_allclose(answer.points[..., 0], 2.0 * 3.0, rtol=1e-6)  # forward in ROS axes


def test_a_pose_that_the_model_gives_is_taken_as_it_is(weights: str) -> None:
    reconstruction = Reconstruction.from_config(Config(model="toy", checkpoint=weights, device="cpu"))
    answers = [answer for frame in random_frames(4) for answer in reconstruction.process(frame)]
    for number, answer in enumerate(answers):
        assert answer.world_from_camera is not None
        assert (answer.pose_source, answer.intrinsics_source, answer.metric) == ("model", "model", True)
        np.testing.assert_allclose(answer.world_from_camera.translation, [0.0, -0.1 * number, 0.0], atol=1e-12)
    assert len(reconstruction.trajectory) == 4 and len(reconstruction.map) > 0
    assert reconstruction.status().counters == {"planes": 4} and reconstruction.scale_source == "model"


def test_it_runs_from_the_command_line(weights: str, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for frame in random_frames(3):
        Image.fromarray(frame.image).save(tmp_path / "photos" / f"{frame.index}.png")
    options = ["--set", "model=toy", "--set", f"checkpoint={weights}", "--set", "device=cpu"]
    assert main(["reconstruct", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), *options]) == 0
    assert (tmp_path / "out" / "map.ply").stat().st_size > 1000
