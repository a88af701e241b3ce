"""Checkpoints: official layouts load strictly into networks, ours round-trip, everything else is refused by name."""

import argparse
import dataclasses
import json
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import GOLDEN, OFFICIAL_TRUNK_IN_SMALL
from torch import nn

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import differences, load_into, read_checkpoint, write_checkpoint
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.dust3r.keywords import trunk_from_config
from spann3r_ros.models.dust3r.network import Dust3rNetwork
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.files import architecture_from_config
from spann3r_ros.models.spann3r.network import Spann3rNetwork

# Heads of 64 channels, as the official ones have, so that shapes alone tell everything.
LINEAR = Dust3rArchitecture(
    encoder_width=128,
    encoder_depth=2,
    encoder_heads=2,
    decoder_width=64,
    decoder_depth=2,
    decoder_heads=1,
    head="linear",
)
DPT = OFFICIAL_TRUNK_IN_SMALL
SPANN3R = Spann3rArchitecture(dataclasses.replace(DPT, image_size=(224, 224)), value_depth=1, value_heads=1)


def network_of(architecture):
    return (Spann3rNetwork if isinstance(architecture, Spann3rArchitecture) else Dust3rNetwork)(architecture)


def empty_network(architecture):
    with torch.device("meta"):
        return network_of(architecture)


def official_state(architecture):
    """Random weights under every name that an official file has, shared and unused ones included."""
    torch.manual_seed(0)
    state = {name: torch.rand_like(tensor) for name, tensor in network_of(architecture).state_dict().items()}
    prefix = "dust3r." if isinstance(architecture, Spann3rArchitecture) else ""
    state[f"{prefix}mask_token"] = torch.rand(1, 1, 64)
    for name in list(state):
        if ".scratch.layer_rn." in name:
            level = int(name.split(".layer_rn.")[1][0])
            state[name.replace(f".layer_rn.{level}.", f".layer{level + 1}_rn.")] = state[name]
        if ".refinenet4.resConfUnit2." in name:
            state[name.replace("resConfUnit2", "resConfUnit1")] = torch.rand_like(state[name])
    return state


def save_pth(path, state, model=None):
    content = {"model": state, "optimizer": {"state": {}}, "epoch": 3}
    if model is not None:
        content["args"] = argparse.Namespace(model=model, lr=1e-4)
    torch.save(content, path)
    return path


def constructor(**keywords):
    return f"AsymmetricCroCo3DStereo({', '.join(f'{key}={value!r}' for key, value in keywords.items())})"


def assert_loads(checkpoint, state):
    """The checkpoint's network holds exactly the values of an official state."""
    network = empty_network(checkpoint.architecture)
    load_into(network, checkpoint)
    loaded = network.state_dict()
    assert all(not tensor.is_meta for tensor in loaded.values())
    for name, tensor in loaded.items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("architecture", [LINEAR, DPT, SPANN3R], ids=["dust3r-linear", "dust3r-dpt", "spann3r"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_official_layouts_are_recognized_by_their_tensors(tmp_path, architecture, suffix):
    path, state = tmp_path / f"w{suffix}", official_state(architecture)
    if suffix == ".pth":
        save_pth(path, state)
    else:
        save_file({name: tensor.clone() for name, tensor in state.items()}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.architecture == architecture and checkpoint.origin == "shapes"
    assert checkpoint.family == ("spann3r" if architecture is SPANN3R else "dust3r")
    assert len(checkpoint.unused) == {LINEAR: 1, DPT: 17, SPANN3R: 17}[architecture]
    assert checkpoint.parameters == sum(tensor.numel() for tensor in checkpoint.state.values())
    assert_loads(checkpoint, state)


def test_shared_tensors_may_be_stored_once_under_either_name(tmp_path):
    state = official_state(DPT)
    for dropped in (".scratch.layer_rn.", "_rn.weight"):
        kept = {name: tensor.clone() for name, tensor in state.items() if dropped not in name or "layer_rn" in name}
        kept = {name: tensor for name, tensor in kept.items() if dropped != ".scratch.layer_rn." or dropped not in name}
        save_file(kept, tmp_path / "w.safetensors")
        assert_loads(read_checkpoint(tmp_path / "w.safetensors"), state)


def test_shared_tensors_that_differ_are_refused(tmp_path):
    state = official_state(DPT)
    name = "downstream_head2.dpt.scratch.layer3_rn.weight"
    state[name] = state[name] + 1
    with pytest.raises(CheckpointError, match=r"two tensors that are one in the network.*layer3_rn"):
        read_checkpoint(save_pth(tmp_path / "w.pth", state))


def test_a_missing_second_decoder_is_a_copy_of_the_first(tmp_path):
    state = official_state(LINEAR)
    one = {name: tensor for name, tensor in state.items() if not name.startswith("dec_blocks2.")}
    checkpoint = read_checkpoint(save_pth(tmp_path / "w.pth", one))
    network = empty_network(LINEAR)
    load_into(network, checkpoint)
    first, second = network.dec_blocks[1].mlp.fc1.weight, network.dec_blocks2[1].mlp.fc1.weight
    assert torch.equal(first, second) and first.data_ptr() != second.data_ptr()


def test_training_arguments_tell_what_shapes_do_not(tmp_path):
    model = constructor(
        pos_embed="RoPE10", img_size=(224, 224), head_type="linear", enc_embed_dim=128, enc_num_heads=4, dec_num_heads=2
    )
    checkpoint = read_checkpoint(save_pth(tmp_path / "w.pth", official_state(LINEAR), model))
    assert checkpoint.origin == "training arguments"
    architecture = checkpoint.architecture
    assert (architecture.encoder_heads, architecture.decoder_heads, architecture.rope_base) == (4, 2, 10.0)
    assert architecture.image_size == (224, 224) and architecture.encoder_depth == 2


def test_training_arguments_that_contradict_the_tensors_are_refused(tmp_path):
    path = save_pth(tmp_path / "w.pth", official_state(LINEAR), constructor(enc_depth=24))
    with pytest.raises(CheckpointError, match=r"w\.pth: training arguments says encoder_depth = 24.*tensors have 2"):
        read_checkpoint(path)


def test_training_arguments_are_never_evaluated(tmp_path):
    marker = tmp_path / "ran"
    model = f"AsymmetricCroCo3DStereo(enc_depth=open({str(marker)!r}, 'w'))"
    with pytest.raises(CheckpointError, match=r"w\.pth.*was not evaluated"):
        read_checkpoint(save_pth(tmp_path / "w.pth", official_state(LINEAR), model))
    assert not marker.exists()


def test_training_arguments_of_spann3r_do_not_matter(tmp_path):
    path = save_pth(tmp_path / "w.pth", official_state(SPANN3R), "Anything(at, all)")
    assert read_checkpoint(path).architecture == SPANN3R


def test_a_config_beside_safetensors_is_read(tmp_path):
    save_file({name: t.clone() for name, t in official_state(LINEAR).items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"enc_num_heads": 4, "depth_mode": ["exp", -Infinity, Infinity]}')
    checkpoint = read_checkpoint(tmp_path / "model.safetensors")
    assert checkpoint.origin.endswith("config.json") and checkpoint.architecture.encoder_heads == 4
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json is no JSON"):
        read_checkpoint(tmp_path / "model.safetensors")


@pytest.mark.parametrize(("family", "weights"), [("spann3r", "spann3r_tiny"), ("dust3r", "dust3r_tiny_dpt")])
def test_recorded_weights_load_with_their_configuration(family, weights):
    read = {"spann3r": architecture_from_config, "dust3r": trunk_from_config}[family]
    architecture = read(json.loads((GOLDEN / f"{family}_tiny_config.json").read_text()))
    path = GOLDEN / f"{weights}_weights.safetensors"
    checkpoint = read_checkpoint(path, architecture)
    assert checkpoint.family == family and checkpoint.origin == "given"
    assert_loads(checkpoint, load_file(path))


def test_recorded_weights_without_their_configuration_are_refused():
    with pytest.raises(CheckpointError, match=r"number of attention heads.*config\.json"):
        read_checkpoint(GOLDEN / "dust3r_tiny_dpt_weights.safetensors")


def test_a_given_architecture_of_another_family_is_refused():
    with pytest.raises(CheckpointError, match=r"another family: got Dust3rArchitecture; expected spann3r"):
        read_checkpoint(GOLDEN / "spann3r_tiny_weights.safetensors", DPT)


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_our_own_files_need_nothing_else(tmp_path, dtype):
    architecture = Spann3rArchitecture(
        trunk=dataclasses.replace(LINEAR, encoder_heads=8, image_size=(96, 128), metric=True),
        value_depth=2,
        value_heads=2,
        value_rope=True,
    )
    network = Spann3rNetwork(architecture)
    write_checkpoint(tmp_path / "w.safetensors", network, architecture, {"training": {"steps": 12}}, dtype)
    checkpoint = read_checkpoint(tmp_path / "w.safetensors")
    assert checkpoint.architecture == architecture and checkpoint.origin == "metadata"
    assert json.loads(checkpoint.metadata["training"]) == {"steps": 12}
    assert_loads(checkpoint, {name: tensor.to(dtype or tensor.dtype) for name, tensor in network.state_dict().items()})
    assert len(checkpoint.sha256) == 64


def test_missing_unexpected_and_misshaped_tensors_are_listed(tmp_path):
    state = official_state(LINEAR)
    del state["enc_norm.bias"], state["dec_blocks.0.norm1.weight"]
    state["enc_blocks.0.surprise"] = torch.zeros(1)
    state["decoder_embed.bias"] = torch.zeros(3)
    checkpoint = read_checkpoint(save_pth(tmp_path / "w.pth", state))
    network = empty_network(LINEAR)
    with pytest.raises(CheckpointError) as caught:
        load_into(network, checkpoint)
    message = str(caught.value)
    assert "w.pth does not fit the dust3r network" in message
    assert "2 missing: enc_norm.bias, dec_blocks.0.norm1.weight" in message
    assert "1 unexpected: enc_blocks.0.surprise" in message
    assert "1 of another shape: decoder_embed.bias [3] instead of [64]" in message
    assert all(parameter.is_meta for parameter in network.parameters())


def test_long_lists_of_differences_are_cut():
    expected = {f"t{number}": (1,) for number in range(100)}
    assert differences(expected, {}) == "100 missing: t0, t1, t2, t3, t4 and 95 more"
    assert differences(expected, expected) == ""


def test_a_tensor_that_tells_a_size_is_missed_by_name(tmp_path):
    state = official_state(LINEAR)
    del state["decoder_embed.weight"]
    with pytest.raises(CheckpointError, match=r"w\.pth: tensor decoder_embed\.weight, which tells the size"):
        read_checkpoint(save_pth(tmp_path / "w.pth", state))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    state = official_state(LINEAR)
    state["enc_blocks.1.mlp.fc1.weight"][3, 4:6] = value
    network = empty_network(LINEAR)
    with pytest.raises(CheckpointError, match=r"enc_blocks\.1\.mlp\.fc1\.weight: got 2 of 65536 values are NaN or inf"):
        load_into(network, read_checkpoint(save_pth(tmp_path / "w.pth", state)))
    assert all(parameter.is_meta for parameter in network.parameters())


def test_integer_tensors_are_refused(tmp_path):
    state = official_state(LINEAR)
    state["enc_norm.bias"] = state["enc_norm.bias"].to(torch.int32)
    with pytest.raises(CheckpointError, match=r"enc_norm\.bias: got torch\.int32; expected floating point"):
        load_into(empty_network(LINEAR), read_checkpoint(save_pth(tmp_path / "w.pth", state)))


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("CroCo", ["enc_blocks.0.norm1.weight", "prediction_head.weight"]),
    ],
)
def test_other_families_are_named(tmp_path, family, names):
    path = save_pth(tmp_path / "w.pth", {name: torch.zeros(1) for name in names})
    with pytest.raises(CheckpointError, match=rf"w\.pth looks like weights of {family}; .*models list"):
        read_checkpoint(path)


def test_an_unknown_network_shows_its_first_names(tmp_path):
    path = save_pth(tmp_path / "w.pth", {f"conv{n}.weight": torch.zeros(1) for n in range(9)})
    with pytest.raises(CheckpointError, match=r"unknown network: got 9 tensors: conv0.*conv4\.weight, \.\.\.;"):
        read_checkpoint(path)


def test_bad_metadata_names_the_file(tmp_path):
    save_file({"enc_blocks.0.x": torch.zeros(1)}, tmp_path / "w.safetensors", {"architecture": "{}"})
    with pytest.raises(CheckpointError, match=r"w\.safetensors: architecture in the metadata"):
        read_checkpoint(tmp_path / "w.safetensors")


def test_loading_costs_little_more_than_the_weights(tmp_path):
    # 64 MB of weights beside 100 MB of optimizer state; peak memory of a fresh process that checks every value.
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.enc_blocks = nn.ModuleList(nn.Linear(1024, 1024, bias=False) for _ in range(16))

    path = tmp_path / "w.pth"
    optimizer = {"state": {n: torch.zeros(1024, 1024) for n in range(25)}}
    torch.save({"model": {n: torch.ones_like(t) for n, t in Wide().state_dict().items()}, "optimizer": optimizer}, path)
    script = """
        import resource, sys
        from pathlib import Path
        import torch
        from torch import nn
        from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
        from spann3r_ros.models.checkpoint.reading import load_into, read_checkpoint
        with torch.device("meta"):
            network = nn.Module()
            network.enc_blocks = nn.ModuleList(nn.Linear(1024, 1024, bias=False) for _ in range(16))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        load_into(network, read_checkpoint(sys.argv[1], Dust3rArchitecture()))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(sum(p.numel() * p.element_size() for p in network.parameters()) / 2**20, (after - before) / 1024)
    """
    run = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    weights, used = map(float, subprocess.run(run, check=True, capture_output=True, text=True).stdout.split())
    assert weights == 64
    assert used < 1.3 * weights + 30  # some 20 MB go to what the first use of PyTorch's operators sets up
