"""`localize` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_models import random_frames

from spann3r_ros.cli.main import main
from spann3r_ros.files.tum import read_trajectory
from spann3r_ros.models.checkpoint.reading import write_checkpoint
from spann3r_ros.models.posenet.architecture import TINY
from spann3r_ros.models.posenet.network import PosenetNetwork


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(0)
    write_checkpoint(tmp_path / "w.safetensors", PosenetNetwork(TINY), TINY)
    return str(tmp_path / "w.safetensors")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for frame in random_frames(3):
        Image.fromarray(frame.image).save(tmp_path / "photos" / f"{frame.index}.png")
    return tmp_path / "photos"


def test_poses_are_written_in_tums_format(weights: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = photos.parent / "poses.txt"
    assert main(["localize", str(photos), "--checkpoint", weights, "--device", "cpu", "-o", str(output)]) == 0
    assert "3 images located" in capsys.readouterr().out
    assert len(read_trajectory(output)) == 3


def test_an_image_that_cannot_be_taken_is_told(weights: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (900, 20)).save(photos / "7.png")
    output = photos.parent / "poses.txt"
    assert main(["localize", str(photos), "--checkpoint", weights, "--device", "cpu", "-o", str(output)]) == 3
    assert "not located: image 3: image too narrow for PoseNet" in capsys.readouterr().out


def test_where_no_image_can_be_taken_the_first_reason_is_told(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small").mkdir()
    Image.new("RGB", (8, 9)).save(tmp_path / "small" / "0.png")
    assert main(["localize", str(tmp_path / "small"), "--checkpoint", weights, "--device", "cpu", "-o", "x"]) == 2
    assert "got none of 1: image 0: image smaller than a patch" in " ".join(capsys.readouterr().err.split())


def test_without_truth_and_output_nothing_would_come_of_it(
    weights: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["localize", str(photos), "--checkpoint", weights, "--device", "cpu"]) == 2
    assert "expected --output FILE, or a recording with true poses" in capsys.readouterr().err


def test_check_says_what_the_weights_are_for(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "check", weights]) == 0
    out = capsys.readouterr().out
    assert "GoogLeNet of 4 to 64 channels, three regressors, BGR, ceil pools, mean color" in out
    assert out.splitlines()[-1].startswith("Use it with `python -m spann3r_ros localize SOURCE --checkpoint ")
