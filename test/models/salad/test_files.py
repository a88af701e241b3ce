from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import load_into, read_checkpoint
from spann3r_ros.models.loading import empty_network, load_descriptor, load_model, load_relocalizer
from spann3r_ros.models.salad.architecture import TINY
from spann3r_ros.models.salad.network import SaladNetwork

IN_SMALL = dataclasses.replace(
    TINY,
    encoder=DinoSizes(width=64, depth=1, heads=1, mlp_ratio=2.0, registers=0, native_grid=5, resize="offset"),
    image_size=(336, 336),
)
"""Heads of 64 channels and images of the official size, which shapes do not tell."""


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A plain state dict at the top level, with the mask token."""
    torch.manual_seed(0)
    state = {**SaladNetwork(IN_SMALL).state_dict(), "backbone.model.mask_token": torch.zeros(1, 64)}
    torch.save(state, tmp_path / "dino_salad.ckpt")
    return tmp_path / "dino_salad.ckpt"


def test_the_published_file_is_recognized_and_tells_its_sizes(official: Path) -> None:
    checkpoint = read_checkpoint(official)
    assert (checkpoint.family, checkpoint.architecture, checkpoint.origin) == ("salad", IN_SMALL, "shapes")
    assert checkpoint.unused == ("backbone.model.mask_token",)
    load_into(empty_network(IN_SMALL), checkpoint)
    assert load_descriptor(official, "cpu").width == IN_SMALL.descriptor_width


def test_it_neither_maps_nor_relocalizes(official: Path) -> None:
    with pytest.raises(CheckpointError, match=r"got salad; expected spann3r\. It maps nothing: use it with .* loops"):
        load_model(Config(checkpoint=str(official), device="cpu"))
    with pytest.raises(CheckpointError, match=r"no weights of a relocalizer: got salad.*Use it with .* loops SOURCE"):
        load_relocalizer(official, "cpu")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("aggregator.score.3.weight", None, r"tensor aggregator\.score\.3\.weight.*got nothing"),
        ("backbone.model.patch_embed.proj.weight", torch.zeros(65, 3, 14, 14), "width of SALAD's encoder: got 65"),
        ("backbone.model.norm.bias", torch.full((64,), float("nan")), "64 of 64 values are NaN"),
    ],
)
def test_a_damaged_file_is_refused(official: Path, name: str, value: torch.Tensor | None, message: str) -> None:
    state = torch.load(official, weights_only=True)
    state.pop(name)
    torch.save(state if value is None else {**state, name: value}, official)
    with pytest.raises(CheckpointError, match=message):
        load_descriptor(official, "cpu")
