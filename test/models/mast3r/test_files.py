"""Official layouts of MASt3R's weights: recognized by their tensors, read as data, refused where they are odd."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import OFFICIAL_TRUNK_IN_SMALL

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import load_into, read_checkpoint
from spann3r_ros.models.mast3r import keywords
from spann3r_ros.models.mast3r.architecture import Mast3rArchitecture
from spann3r_ros.models.mast3r.network import Mast3rNetwork

SMALL = Mast3rArchitecture(**{**dataclasses.asdict(OFFICIAL_TRUNK_IN_SMALL), "metric": True}, descriptor_width=5)

OFFICIAL = (
    "AsymmetricMASt3R(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), "
    "head_type='catmlp+dpt', output_mode='pts3d+desc24', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12, "
    "two_confs=True, desc_conf_mode=('exp', 0, inf))"
)


def official_state() -> dict[str, torch.Tensor]:
    """Random weights under every name of an official file, shared and unused ones included."""
    torch.manual_seed(0)
    state = {name: torch.rand_like(tensor) for name, tensor in Mast3rNetwork(SMALL).state_dict().items()}
    state["mask_token"] = torch.rand(1, 1, 64)
    for name in list(state):
        if ".scratch.layer_rn." in name:
            level = int(name.split(".layer_rn.")[1][0])
            state[name.replace(f".layer_rn.{level}.", f".layer{level + 1}_rn.")] = state[name]
        if ".refinenet4.resConfUnit2." in name:
            state[name.replace("resConfUnit2", "resConfUnit1")] = torch.rand_like(state[name])
    return state


def save_pth(path: Path, state: dict[str, Any], model: str | None = None) -> Path:
    torch.save({"model": state, "args": argparse.Namespace(model=model, lr=1e-4)}, path)
    return path


def test_the_official_constructor_is_the_default_architecture() -> None:
    assert Mast3rArchitecture(**keywords.fields_from_mast3r_constructor(OFFICIAL)) == Mast3rArchitecture()


def test_an_official_file_is_recognized_and_loads(tmp_path: Path) -> None:
    state = official_state()
    checkpoint = read_checkpoint(save_pth(tmp_path / "w.pth", state))
    assert (checkpoint.family, checkpoint.architecture, checkpoint.origin) == ("mast3r", SMALL, "shapes")
    assert len(checkpoint.unused) == 17
    with torch.device("meta"):
        network = Mast3rNetwork(SMALL)
    load_into(network, checkpoint)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_training_arguments_tell_what_shapes_do_not(tmp_path: Path) -> None:
    text = (
        "AsymmetricMASt3R(enc_num_heads=2, img_size=(224, 224), output_mode='pts3d+desc5', conf_mode=('exp', 1, inf))"
    )
    checkpoint = read_checkpoint(save_pth(tmp_path / "w.pth", official_state(), text))
    found = checkpoint.architecture
    assert isinstance(found, Mast3rArchitecture) and checkpoint.origin == "training arguments"
    assert (found.encoder_heads, found.image_size, found.descriptor_confidence_range[0]) == (2, (224, 224), 1.0)


def test_a_file_of_the_hub_has_its_description_beside_it(tmp_path: Path) -> None:
    save_file({name: tensor.clone() for name, tensor in official_state().items()}, tmp_path / "model.safetensors")
    config = {
        "enc_num_heads": 2,
        "head_type": "catmlp+dpt",
        "desc_conf_mode": ["exp", 0, float("inf")],
        "two_confs": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))  # with the token Infinity, as it is published
    found = read_checkpoint(tmp_path / "model.safetensors").architecture
    assert isinstance(found, Mast3rArchitecture) and found.encoder_heads == 2 and found.descriptor_width == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AsymmetricMASt3R(output_mode='pts3d+desc24')", "descriptor_width = 24, but the tensors have 5"),
        ("AsymmetricMASt3R(output_mode='pts3d')", "keyword 'output_mode'"),
        ("AsymmetricMASt3R(head_type='catconv')", "keyword 'head_type': got 'catconv'; expected 'catmlp.dpt'"),
        ("AsymmetricMASt3R(desc_mode='none')", "keyword 'desc_mode'"),
        ("AsymmetricMASt3R(desc_conf_mode=('exp',))", "description of MASt3R's descriptors"),
        ("AsymmetricMASt3R(unheard_of=1)", "unknown keyword"),
        ("AsymmetricCroCo3DStereo(enc_depth=1)", r"expected AsymmetricMASt3R\(keyword"),
        ("AsymmetricMASt3R(enc_depth=open('{marker}', 'w'))", "was not evaluated"),
    ],
)
def test_other_descriptions_are_refused_and_never_run(text: str, message: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = save_pth(tmp_path / "w.pth", official_state(), text.replace("{marker}", str(marker)))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)
    assert not marker.exists()


def test_a_file_without_descriptors_is_no_mast3r(tmp_path: Path) -> None:
    state = official_state()
    del state["downstream_head1.head_local_features.fc2.weight"]
    with pytest.raises(CheckpointError, match="tell the width of the descriptors"):
        read_checkpoint(save_pth(tmp_path / "w.pth", state))
    for name in [name for name in state if ".head_local_features." in name]:
        del state[name]
    assert read_checkpoint(save_pth(tmp_path / "d.pth", state)).family == "dust3r"


def test_dust3rs_and_mast3rs_weights_are_told_apart(tmp_path: Path) -> None:
    from spann3r_ros.config import Config
    from spann3r_ros.models.loading import load_model

    path = save_pth(tmp_path / "w.pth", official_state())
    with pytest.raises(CheckpointError, match=r"another family.*got mast3r; expected dust3r\. Set model to mast3r"):
        load_model(Config(model="dust3r", checkpoint=str(path), device="cpu"))
