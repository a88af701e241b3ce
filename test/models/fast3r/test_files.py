from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import load_into, read_checkpoint
from spann3r_ros.models.fast3r.architecture import TINY, Fast3rArchitecture
from spann3r_ros.models.fast3r.network import Fast3rNetwork
from spann3r_ros.models.loading import empty_network, load_model

SMALL = dataclasses.replace(
    TINY, encoder_width=64, encoder_heads=1, decoder_width=128, decoder_heads=2, image_size=(384, 512)
)
"""Heads of 64 channels, as the official file has them."""

CONFIG = {
    "encoder_args": {
        "encoder_type": "croco",
        "img_size": 512,
        "patch_size": 16,
        "patch_embed_cls": "PatchEmbedDust3R",
        "embed_dim": 64,
        "num_heads": 1,
        "depth": 2,
        "mlp_ratio": 4,
        "pos_embed": "RoPE100",
        "attn_implementation": "flash_attention",
    },
    "decoder_args": {
        "decoder_type": "fast3r",
        "random_image_idx_embedding": True,
        "enc_embed_dim": 64,
        "embed_dim": 128,
        "num_heads": 2,
        "depth": 10,
        "mlp_ratio": 4.0,
        "qkv_bias": True,
        "attn_bias_for_inference_enabled": False,
    },
    "head_args": {
        "head_type": "dpt",
        "output_mode": "pts3d",
        "landscape_only": False,
        "depth_mode": ["exp", float("-inf"), float("inf")],
        "conf_mode": ["exp", 1, float("inf")],
        "patch_size": 16,
        "with_local_head": True,
    },
}


def published(architecture: Fast3rArchitecture = SMALL) -> dict[str, torch.Tensor]:
    """A state dict with what inference does not use, and with the other name of what is stored twice."""
    torch.manual_seed(0)
    state = {}
    for name, tensor in Fast3rNetwork(architecture).state_dict().items():
        state[name] = tensor
        if ".layer_rn." in name:
            head, _, level = name.removesuffix(".weight").rpartition(".layer_rn.")
            state[f"{head}.layer{int(level) + 1}_rn.weight"] = tensor
        if ".refinenet4.resConfUnit2." in name:
            state[name.replace("resConfUnit2", "resConfUnit1")] = torch.zeros_like(tensor)
    return state


def described(**parts: Any) -> str:
    return json.dumps({part: {**values, **parts.get(part, {})} for part, values in CONFIG.items()})


def save(folder: Path, config: str | None = None) -> Path:
    """As its hub exports it: of two names of one tensor only the first in the alphabet."""
    state = {name: tensor.clone() for name, tensor in published().items() if ".layer_rn." not in name}
    save_file(state, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(config)
    return folder / "model.safetensors"


def test_the_hubs_files_are_recognized_and_loaded(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(save(tmp_path, described()))
    assert (checkpoint.family, checkpoint.architecture) == ("fast3r", SMALL)
    assert checkpoint.origin.endswith("config.json")
    load_into(empty_network(checkpoint.architecture), checkpoint)


def test_shapes_alone_tell_the_sizes(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(save(tmp_path))
    assert (checkpoint.architecture, checkpoint.origin) == (SMALL, "shapes")


def test_a_training_checkpoint_has_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / "epoch.ckpt"
    torch.save({"state_dict": {f"net.{name}": tensor for name, tensor in published().items()}}, path)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.family, checkpoint.architecture) == ("fast3r", SMALL)
    load_into(empty_network(checkpoint.architecture), checkpoint)


def test_what_the_description_adds_to_the_shapes(tmp_path: Path) -> None:
    config = described(
        encoder_args={"pos_embed": "RoPE50"},
        decoder_args={"random_image_idx_embedding": False, "attn_bias_for_inference_enabled": True},
    )
    architecture = read_checkpoint(save(tmp_path, config)).architecture
    expected = dataclasses.replace(SMALL, rope_base=50.0, random_image_ids=False, sharp_attention=True)
    assert architecture == expected


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"encoder_args": {"encoder_type": "dinov2"}}, "'encoder_type' .*got dinov2; expected 'croco'"),
        ({"decoder_args": {"decoder_type": "llama"}}, "'decoder_type' .*got llama"),
        ({"decoder_args": {"depth": 12}}, "says decoder_depth = 12, but the tensors have 10"),
        ({"head_args": {"with_local_head": False}}, "local head: False, the tensors say True"),
        ({"head_args": {"depth_mode": ["exp", 0, 1]}}, "bounds -inf and inf"),
        ({"head_args": {"conf_mode": "exp"}}, "value in the network's description|not enough values"),
    ],
)
def test_descriptions_of_other_networks_are_refused(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(save(tmp_path, described(**parts)))


def test_its_weights_are_refused_by_name_where_others_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"another family.*got fast3r; expected dust3r\. Set model to fast3r"):
        load_model(Config(model="dust3r", checkpoint=str(save(tmp_path)), device="cpu"))


def test_twins_that_differ_are_refused(tmp_path: Path) -> None:
    state = published()
    name = "downstream_head.dpt.scratch.layer1_rn.weight"
    state[name] = state[name] + 1
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="two tensors that are one in the network differ"):
        read_checkpoint(tmp_path / "w.pth")
