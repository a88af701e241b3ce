from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import read_checkpoint, write_checkpoint
from spann3r_ros.models.loading import empty_network
from spann3r_ros.models.pi3.architecture import Pi3Architecture
from spann3r_ros.models.pi3x.architecture import INJECT_AFTER, TINY, Pi3xArchitecture

OFFICIAL_IN_SMALL = Pi3xArchitecture(
    trunk=Pi3Architecture(
        encoder=DinoSizes(width=64, depth=1, heads=1, mlp_ratio=1.0, native_grid=4),
        decoder_depth=36,
        decoder_heads=1,
        mlp_ratio=1.0,
        head_width=64,
        head_heads=1,
        head_depth=1,
        head_out=20,
        camera_width=12,
    ),
    upsample=(32, 16, 16),
    last_width=8,
    metric_width=64,
    metric_heads=1,
    metric_depth=2,
    depth_encoder=DinoSizes(width=64, depth=2, heads=1, mlp_ratio=1.0, native_grid=4, channels=2),
)
"""As deep as the official one, with heads of 64 channels: the shapes tell everything."""


def state(architecture: Pi3xArchitecture) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: 0.02 * torch.randn(tensor.shape) for name, tensor in empty_network(architecture).state_dict().items()}


def test_an_official_file_is_recognized_and_its_sizes_are_told_by_shapes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({**state(OFFICIAL_IN_SMALL), "depth_encoder.mask_token": torch.zeros(1, 64)}, path)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.family, checkpoint.architecture) == ("pi3x", OFFICIAL_IN_SMALL)
    assert OFFICIAL_IN_SMALL.inject_after == INJECT_AFTER
    assert checkpoint.unused == ("depth_encoder.mask_token",)


@pytest.mark.parametrize("left", [(), ("ray_embed.",), ("depth_encoder.", "depth_emb")])
def test_a_file_that_lacks_parts_for_conditions_takes_images_only(left: tuple[str, ...], tmp_path: Path) -> None:
    parts = ("depth_encoder.", "depth_emb", "ray_embed.", "pose_inject_blk.")
    tensors = state(OFFICIAL_IN_SMALL)
    kept = {name: t for name, t in tensors.items() if not name.startswith(parts) or name.startswith(left or "?")}
    save_file(kept, tmp_path / "w.safetensors")
    checkpoint = read_checkpoint(tmp_path / "w.safetensors")
    assert checkpoint.architecture == dataclasses.replace(
        OFFICIAL_IN_SMALL, conditioned=False, depth_encoder=DinoSizes(channels=2)
    )
    assert set(checkpoint.unused) == {name for name in kept if name.startswith(left or "?")}


def test_a_decoder_of_another_depth_needs_a_description(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    shallow = dataclasses.replace(
        OFFICIAL_IN_SMALL, trunk=dataclasses.replace(OFFICIAL_IN_SMALL.trunk, decoder_depth=6), inject_after=(1, 3)
    )
    save_file(state(shallow), path)
    with pytest.raises(CheckpointError, match=r"got 2 for a decoder of 6, and no description"):
        read_checkpoint(path)
    write_checkpoint(path, state(shallow), shallow)
    assert read_checkpoint(path).architecture == shallow


def test_every_size_survives_our_own_files(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "w.safetensors", state(TINY), TINY)
    assert read_checkpoint(tmp_path / "w.safetensors").architecture == TINY
