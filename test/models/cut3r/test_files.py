from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest
import torch

from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import load_into, read_checkpoint
from spann3r_ros.models.cut3r.architecture import TINY, Cut3rArchitecture
from spann3r_ros.models.cut3r.files import stated_fields
from spann3r_ros.models.cut3r.network import Cut3rNetwork
from spann3r_ros.models.loading import empty_network, load_model

LINEAR = dataclasses.replace(
    TINY,
    encoder_heads=1,
    decoder_width=64,
    decoder_heads=1,
    state_heads=16,
    image_size=(224, 224),
    metric=False,
)
"""Heads of 64 channels and a state of 16 heads, as the official files have them."""

DPT = dataclasses.replace(
    LINEAR,
    head="dpt",
    dpt_width=8,
    dpt_last_width=6,
    dpt_layer_widths=(4, 6, 8, 10),
    image_size=(384, 512),
    metric=True,
)

TEXT = (
    "SomeNetwork(SomeSettings(state_size=10, state_pe='2d', pos_embed='RoPE100', rgb_head=True, pose_head=True, "
    "patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), head_type='{head}', output_mode='pts3d+pose', "
    "depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), pose_mode=('exp', -inf, inf), enc_embed_dim=64, "
    "enc_depth=2, enc_num_heads=1, dec_embed_dim=64, dec_depth=3, dec_num_heads=1, freeze='encoder', "
    "unheard_of=len('x')))"
)


def published(architecture: Cut3rArchitecture) -> dict[str, torch.Tensor]:
    """A state dict with what inference does not use, and both names of what is stored twice."""
    torch.manual_seed(0)
    state = {"masked_img_token": torch.zeros(1, 64), "masked_ray_map_token": torch.zeros(1, 64)}
    for name, tensor in Cut3rNetwork(architecture).state_dict().items():
        state[name] = tensor
        if ".layer_rn." in name:
            head, _, level = name.removesuffix(".weight").rpartition(".layer_rn.")
            state[f"{head}.layer{int(level) + 1}_rn.weight"] = tensor
        if ".refinenet4.resConfUnit2." in name:
            state[name.replace("resConfUnit2", "resConfUnit1")] = torch.zeros_like(tensor)
    return state


def save(path: Path, architecture: Cut3rArchitecture, text: str | None = None) -> Path:
    arguments = argparse.Namespace(model=text)
    torch.save({"model": published(architecture), "epoch": 3} | ({"args": arguments} if text else {}), path)
    return path


@pytest.mark.parametrize("architecture", [LINEAR, DPT], ids=["linear", "dpt"])
@pytest.mark.parametrize("described", [True, False])
def test_official_files_are_recognized_and_loaded(
    architecture: Cut3rArchitecture, described: bool, tmp_path: Path
) -> None:
    text = TEXT.format(head=architecture.head) if described else None
    checkpoint = read_checkpoint(save(tmp_path / "w.pth", architecture, text))
    assert (checkpoint.family, checkpoint.architecture) == ("cut3r", architecture)
    assert checkpoint.origin == ("training arguments" if described else "shapes")
    assert {"masked_img_token", "masked_ray_map_token"} <= set(checkpoint.unused)
    load_into(empty_network(checkpoint.architecture), checkpoint)


def test_the_start_of_a_training_has_one_decoder(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in published(LINEAR).items() if not name.startswith("dec_blocks_state.")}
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "w.pth")
    checkpoint = read_checkpoint(tmp_path / "w.pth")
    name = "1.cross_attn.projk.weight"
    one, other = checkpoint.state[f"dec_blocks.{name}"], checkpoint.state[f"dec_blocks_state.{name}"]
    assert torch.equal(one, other) and one.data_ptr() != other.data_ptr()
    load_into(empty_network(checkpoint.architecture), checkpoint)


def test_what_the_description_adds_to_the_shapes(tmp_path: Path) -> None:
    text = TEXT.format(head="linear").replace("RoPE100", "RoPE50").replace("'2d'", "'1d'")
    text = text.replace("dec_num_heads=1", "dec_num_heads=1, state_dec_num_heads=4")
    expected = dataclasses.replace(LINEAR, rope_base=50.0, state_positions="1d", state_heads=4)
    assert read_checkpoint(save(tmp_path / "w.pth", LINEAR, text)).architecture == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rgb_head=True", "rgb_head=False", "keyword 'rgb_head' .*got False; expected True"),
        ("'pts3d+pose'", "'pts3d'", "keyword 'output_mode'"),
        ("state_size=10", "state_size=11", "says state_tokens = 11, but the tensors have 10"),
        ("enc_depth=2", "enc_depth=3", "says encoder_depth = 3, but the tensors have 2"),
        ("head_type='linear'", "head_type='dpt'", "says head = dpt, but the tensors have linear"),
        ("'RoPE100'", "'cosine'", "keyword 'pos_embed'"),
        ("('exp', 1, inf)", "'exp'", "keyword 'conf_mode'"),
        ("pose_mode=('exp', -inf, inf)", "pose_mode=('exp', 0, inf)", "keyword 'pose_mode'"),
        ("'2d'", "'3d'", "positions of the state: got '3d'"),
    ],
)
def test_descriptions_of_other_networks_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = TEXT.format(head="linear").replace(old, new)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(save(tmp_path / "w.pth", LINEAR, text))


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize(
    "text",
    [
        "open('{marker}', 'w')",
        "A(enc_depth=open('{marker}', 'w'))",
        "A(B(), enc_depth=__import__('pathlib').Path('{marker}').touch())",
        "A(state_pe=[print(1) for _ in '1'])",
        "A.b(enc_depth=2)",
        "A(3)",
        "A(*[1])",
        "lambda: 1",
        "(" * 500 + ")" * 500,
        "",
    ],
)
def test_other_texts_are_never_run(text: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(CheckpointError):
        stated_fields(text.replace("{marker}", str(marker)))
    assert not marker.exists()


def test_its_weights_are_refused_by_name_where_others_are_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", LINEAR)
    with pytest.raises(CheckpointError, match=r"another family.*got cut3r; expected dust3r\. Set model to cut3r"):
        load_model(Config(model="dust3r", checkpoint=str(path), device="cpu"))


def test_tensors_too_few_are_missed_by_name(tmp_path: Path) -> None:
    state = published(LINEAR)
    del state["register_tokens.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"tensor register_tokens\.weight, which tells the size"):
        read_checkpoint(tmp_path / "w.pth")
