"""`loops` as a user types it: a recording that ends where it began."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spann3r_ros.cli.main import main
from spann3r_ros.models.checkpoint.reading import write_checkpoint
from spann3r_ros.models.salad.architecture import TINY
from spann3r_ros.models.salad.network import SaladNetwork


def test_the_image_that_comes_again_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    write_checkpoint(tmp_path / "salad.safetensors", SaladNetwork(TINY), TINY)
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    images = [np.tile(rng.integers(0, 256, (1, 1, 3), np.uint8), (48, 64, 1)) for _ in range(15)]
    for number, image in enumerate([*images, images[2]]):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number:02d}.png")
    command = [
        "loops",
        str(tmp_path / "photos"),
        "--checkpoint",
        str(tmp_path / "salad.safetensors"),
        "--device",
        "cpu",
    ]
    assert main([*command, "--similarity", "0.99999"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("image 15 (") and "shows image 2 (" in lines[0] and lines[0].endswith(": 1.000")
    assert lines[-1] == "1 loops in 16 images"
    assert main([*command, "--limit", "15", "--similarity", "0.99999"]) == 0
    assert capsys.readouterr().out.splitlines() == ["0 loops in 15 images"]
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "05.png")
    assert main([*command, "--similarity", "0.99999"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("image 15 (") and lines[1] == "1 loops in 15 images"
    assert lines[2].startswith("left out: image 5: image smaller than a patch of the networks: got 8 x 8")
