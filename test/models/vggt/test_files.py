from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.cli.main import main
from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import read_checkpoint
from spann3r_ros.models.loading import empty_network, load_model
from spann3r_ros.models.vggt.architecture import TINY, VggtArchitecture
from spann3r_ros.models.vggt.files import OFFICIAL_FILES

OFFICIAL_IN_SMALL = VggtArchitecture(
    encoder=DinoSizes(width=128, depth=1, heads=2, mlp_ratio=1.0, native_grid=4),
    heads=2,
    mlp_ratio=1.0,
    camera_depth=1,
    camera_heads=2,
    camera_mlp_ratio=1.0,
    dpt_width=8,
    dpt_last_width=4,
    dpt_layer_widths=(4, 4, 8, 8),
    image_size=(42, 56),
)
"""As deep as the official one, with heads of 64 channels: the shapes tell everything."""


def state(architecture: VggtArchitecture) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shapes = {name: tensor.shape for name, tensor in empty_network(architecture).state_dict().items()}
    tensors = {name: 0.02 * torch.randn(shape) for name, shape in shapes.items()}
    width = architecture.width
    return tensors | {
        "aggregator.patch_embed.mask_token": torch.zeros(1, width),
        "track_head.tracker.query_ref_token": torch.zeros(1, 2, 8),
    }


@pytest.mark.parametrize("head", ["both", "depth", "points"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_official_layout_is_recognized_and_its_sizes_are_told_by_shapes(
    tmp_path: Path, head: str, suffix: str
) -> None:
    architecture = dataclasses.replace(OFFICIAL_IN_SMALL, has_depth=head != "points", has_points=head != "depth")
    path, tensors = tmp_path / f"model{suffix}", state(architecture)
    torch.save(tensors, path) if suffix == ".pt" else save_file(tensors, path)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.family, checkpoint.architecture, checkpoint.origin) == ("vggt", architecture, "shapes")
    assert set(checkpoint.unused) == {"aggregator.patch_embed.mask_token", "track_head.tracker.query_ref_token"}
    config = Config(model="vggt", checkpoint=str(path), device="cpu")
    if head == "points":
        with pytest.raises(Exception, match=r"parameter 'vggt\.points': got depth; expected pointmap"):
            load_model(config)
    else:
        assert load_model(config).name == "vggt"  # type: ignore[union-attr]


def test_a_file_of_another_depth_is_refused_because_nobody_knows_which_layers_its_heads_read(tmp_path: Path) -> None:
    torch.save(state(TINY), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"w\.pt: VGGT network without a description: got 4 layers, width 24"):
        read_checkpoint(tmp_path / "w.pt")


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    tensors = state(OFFICIAL_IN_SMALL)
    del tensors["aggregator.register_token"]
    torch.save(tensors, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"tensor aggregator\.register_token, which tells .* got nothing"):
        read_checkpoint(tmp_path / "w.pt")


def test_the_commercial_weights_are_told_from_the_others_with_what_their_policy_forbids(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert {file.name for file in OFFICIAL_FILES if file.commercial} == {"vggt-1b-commercial"}
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  vggt-1b")}
    assert " yes " in lines["vggt-1b-commercial"] and " no " in lines["vggt-1b"]
    assert "heavy machinery" in " ".join(out.split()) and "non-commercial use only" in " ".join(out.split())
