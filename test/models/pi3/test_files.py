from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import read_checkpoint
from spann3r_ros.models.family import Architecture
from spann3r_ros.models.loading import empty_network, load_model
from spann3r_ros.models.pi3.architecture import Pi3Architecture

OFFICIAL_IN_SMALL = Pi3Architecture(
    encoder=DinoSizes(width=64, depth=1, heads=1, mlp_ratio=1.0, native_grid=4),
    decoder_depth=2,
    decoder_heads=1,
    mlp_ratio=1.0,
    head_width=64,
    head_heads=1,
    head_depth=1,
    head_out=20,
    camera_width=12,
)
"""With heads of 64 channels: the shapes tell everything."""


def state(architecture: Architecture) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: 0.02 * torch.randn(tensor.shape) for name, tensor in empty_network(architecture).state_dict().items()}


def test_an_official_file_is_recognized_and_its_sizes_are_told_by_shapes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({**state(OFFICIAL_IN_SMALL), "encoder.mask_token": torch.zeros(1, 64)}, path)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.family, checkpoint.architecture) == ("pi3", OFFICIAL_IN_SMALL)
    assert (checkpoint.origin, checkpoint.unused) == ("shapes", ("encoder.mask_token",))
    loaded = load_model(Config(model="pi3", checkpoint=str(path), device="cpu"))
    assert loaded.name == "pi3"  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match=r"another family.*got pi3; expected dust3r\. Set model to pi3"):
        load_model(Config(model="dust3r", checkpoint=str(path), device="cpu"))


@pytest.mark.parametrize("name", ["register_token", "decoder.0.attn.q_norm.weight", "encoder.pos_embed"])
def test_a_missing_tensor_is_named(name: str, tmp_path: Path) -> None:
    tensors = state(OFFICIAL_IN_SMALL)
    del tensors[name]
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=rf"w\.safetensors: tensor {name}, which tells .* got nothing"):
        read_checkpoint(tmp_path / "w.safetensors")


def test_tensors_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for name, tensor, message in (
        ("encoder.pos_embed", torch.zeros(1, 16, 64), "expected 1 . those of a square grid"),
        ("decoder.0.attn.q_norm.weight", torch.zeros(48), "channels of decoder.0.attn.q_norm: got 48"),
        ("point_decoder.projects.weight", torch.zeros(60, 128), "number of attention heads of the heads: got width 60"),
    ):
        save_file({**state(OFFICIAL_IN_SMALL), name: tensor}, tmp_path / "w.safetensors")
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(tmp_path / "w.safetensors")


class Ran:
    """What a hostile file would have called: it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.fault("hostile file")
def test_objects_beside_the_tensors_are_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    torch.save({"model": state(OFFICIAL_IN_SMALL), "config": Ran(marker)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "w.pt")
    assert not marker.exists()
