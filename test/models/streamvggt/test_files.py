from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.cli.main import main
from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.base import ModelStream, WindowModel
from spann3r_ros.models.checkpoint.reading import read_checkpoint, write_checkpoint
from spann3r_ros.models.loading import empty_network, load_model
from spann3r_ros.models.streamvggt.architecture import StreamVggtArchitecture

OFFICIAL_IN_SMALL = StreamVggtArchitecture(
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


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: 0.02 * torch.randn(t.shape) for name, t in empty_network(OFFICIAL_IN_SMALL).state_dict().items()}


@pytest.fixture
def official(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints.pth"
    torch.save(tensors(), path)
    return path


def test_one_file_is_either_family_as_the_parameter_model_says(
    official: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(load_model(Config(model="vggt", checkpoint=str(official), device="cpu")), WindowModel)
    stream = load_model(Config(model="streamvggt", checkpoint=str(official), device="cpu"))
    assert isinstance(stream, ModelStream) and stream.model.name == "streamvggt"
    said = "is taken for {}, as model says: weights of {} look the same"
    for record, names in zip(
        caplog.records, ("vggt|vggt and streamvggt", "streamvggt|streamvggt and vggt"), strict=True
    ):
        assert said.format(*names.split("|")) in record.getMessage()
    assert read_checkpoint(official, wanted="streamvggt").architecture == OFFICIAL_IN_SMALL


def test_a_file_of_our_own_says_which_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "own.safetensors"
    write_checkpoint(path, tensors(), OFFICIAL_IN_SMALL)
    assert read_checkpoint(path).family == "streamvggt"
    load_model(Config(model="streamvggt", checkpoint=str(path), device="cpu"))
    assert not caplog.records
    with pytest.raises(CheckpointError, match=r"got streamvggt; expected vggt\. Set model to streamvggt, or"):
        load_model(Config(model="vggt", checkpoint=str(path), device="cpu"))


def test_where_it_cannot_be_told_both_are_named(official: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match=r"got vggt or streamvggt; .* Set model to vggt or streamvggt, or"):
        load_model(Config(model="spann3r", checkpoint=str(official), device="cpu"))
    assert main(["models", "check", str(official)]) == 0
    assert "model: vggt or streamvggt, checkpoint:" in capsys.readouterr().out


def test_sizes_are_a_type_of_their_own() -> None:
    assert dataclasses.fields(StreamVggtArchitecture) and type(OFFICIAL_IN_SMALL) is StreamVggtArchitecture
