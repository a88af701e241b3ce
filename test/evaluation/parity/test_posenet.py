"""PoseNet's recordings: what the replay notices."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spann3r_ros.cli.main import main


@pytest.fixture
def recorded(golden: Path, tmp_path: Path) -> Path:
    for path in golden.glob("posenet_tiny_*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "posenet_tiny_config.json"


def change(folder: Path, file: str, name: str, action: Callable[[torch.Tensor], torch.Tensor]) -> None:
    tensors = load_file(folder / file)
    save_file({**tensors, name: action(tensors[name]).contiguous()}, folder / file)


def test_both_definitions_and_the_loss_are_equal(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", str(recorded), "--tolerance", "2e-6"]) == 0
    out = capsys.readouterr().out
    for title in ("published_0", "published_1", "port_0", "port_1", "loss"):
        assert f"posenet_tiny {title} " in out
    assert "not compared" not in out


@pytest.mark.parametrize("name", ["published_0/icp7_out", "port_0/inception_4e", "published_1/pose", "loss/total"])
def test_a_changed_recording_is_noticed(name: str, recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(recorded.parent, "posenet_tiny_case.safetensors", name, lambda tensor: tensor * 1.01)
    assert main(["parity", str(recorded)]) == 1
    assert name in capsys.readouterr().out.splitlines()[-1]


def test_a_changed_weight_is_noticed(recorded: Path) -> None:
    name = "inception_4c.branch_x5.2.weight"
    change(recorded.parent, "posenet_tiny_weights.safetensors", name, lambda tensor: tensor * 1.05)
    assert main(["parity", str(recorded)]) == 1


def test_the_order_of_the_colors_is_noticed(recorded: Path) -> None:
    name = "published_1/image_u8"
    change(recorded.parent, "posenet_tiny_case.safetensors", name, lambda image: image.flip(-1))
    assert main(["parity", str(recorded)]) == 1


def test_another_crop_is_a_decision_that_differs(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads(recorded.read_text())
    config["cases"][0]["crop"] = [11, 2]
    recorded.write_text(json.dumps(config))
    assert main(["parity", str(recorded)]) == 1
    assert "decision differs: published_0.crop: [10, 2], recorded [11, 2]" in capsys.readouterr().out


def test_a_recording_without_a_mean_image_is_refused(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recorded.parent / "posenet_tiny_case.safetensors"
    save_file({name: t for name, t in load_file(path).items() if "mean_image" not in name}, path)
    assert main(["parity", str(recorded)]) == 2
    assert "without a mean image" in capsys.readouterr().err


@pytest.mark.parametrize(("stride", "status"), [(2, 0), (3, 0), (4, 1)])
def test_of_a_map_every_nth_row_and_column_may_be_recorded(stride: int, status: int, recorded: Path) -> None:
    path = recorded.parent / "posenet_tiny_case.safetensors"
    tensors = load_file(path)
    thinned = tensors.pop("port_0/inception_4e")[:, :, ::stride, ::stride].contiguous()
    save_file({**tensors, f"port_0/inception_4e_s{stride}": thinned * (1.01 if status else 1.0)}, path)
    assert main(["parity", str(recorded)]) == status
