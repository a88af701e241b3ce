"""The registry: every row builds, a configuration becomes a model that can step, wrong ones are refused."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_models import random_frames

from spann3r_ros.config import DEMO_WEIGHTS, Config
from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.models import loading, registry
from spann3r_ros.models.checkpoint.reading import read_checkpoint, write_checkpoint
from spann3r_ros.streaming.stream import load_stream

# The published counts in millions, less what inference does not use (the mask token aside, which is too small to see):
# a unit of each DPT head of DUSt3R, the head of VGGT that tracks points.
MILLIONS = {
    "spann3r": 658.69 - 2 * 1.18,
    "dust3r": 571.17 - 2 * 1.18,
    "vggt": 1256.54 - 65.94,
    "mast3r": 688.64 - 2 * 1.18,
    "streamvggt": 1256.54 - 65.94,
    "pi3": 958.70,
    "pi3x": 1360.03,
    "fast3r": 647.551368 - 2 * 1.18,
    "cut3r": 793.307858 - 3 * 1.18 - 0.002,
}


def weights_of(family, path, dtype=None):
    torch.manual_seed(0)
    tiny = registry.family(family).tiny
    network = loading.empty_network(tiny).to_empty(device="cpu")
    for tensor in (*network.parameters(), *network.buffers()):
        torch.nn.init.normal_(tensor, std=0.05)
    write_checkpoint(path, network, tiny, dtype=dtype)
    return str(path)


@pytest.mark.parametrize("name", registry.FAMILIES)
def test_every_row_builds_its_official_network_without_memory(name):
    row = registry.family(name)
    assert row.name == name and row.summary and row.licenses
    network = loading.empty_network(row.architecture)
    assert all(parameter.is_meta for parameter in network.parameters())
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert millions == pytest.approx(MILLIONS[name], abs=0.01)


def test_families_are_imported_only_when_asked_for():
    check = (
        "import sys, spann3r_ros.models.registry;"
        "assert not [m for m in sys.modules if m.startswith('spann3r_ros.models.') and 'r_network' in m]"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_an_unknown_family_lists_the_choices():
    with pytest.raises(ConfigError, match=r"parameter 'model': got 'nerf'; expected spann3r \| dust3r"):
        loading.load_model(Config(model="nerf"))


@pytest.mark.parametrize("name", registry.FAMILIES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_configuration_becomes_a_model_that_steps(tmp_path, name, precision):
    checkpoint = weights_of(name, tmp_path / "w.safetensors", torch.float16)
    config = Config(model=name, checkpoint=checkpoint, device="cpu", precision=precision, output="immediate")
    stream = load_stream(config)
    model = stream.model
    assert (model.name, model.metric, model.weights) == (name, registry.family(name).tiny.metric, checkpoint)
    height, width = registry.family(name).tiny.image_size
    frames = random_frames(3, size=(2 * width, 2 * height))
    predictions = [prediction for frame in frames for prediction in stream.step(frame)]
    predictions += stream.flush()
    assert predictions
    for prediction in predictions:
        assert prediction.points.shape == (height, width, 3) and prediction.points.dtype == np.float32
        assert np.isfinite(prediction.points).all()


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_precision_is_of_the_trunk_and_heads_stay_fp32(tmp_path, precision, dtype, stored):
    checkpoint = read_checkpoint(weights_of("spann3r", tmp_path / "w.safetensors", stored))
    network = loading.load_network(checkpoint, torch.device("cpu"), precision)
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    for name, parameter in network.named_parameters():
        head = ".downstream_head" in name
        assert parameter.dtype == (torch.float32 if head else dtype), name
        assert torch.equal(parameter, checkpoint.state[name].to(parameter.dtype)), name


def test_weights_of_another_family_are_refused(tmp_path):
    checkpoint = weights_of("dust3r", tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"another family.*got dust3r; expected spann3r\. Set model to dust3r"):
        loading.load_model(Config(checkpoint=checkpoint))


def test_a_missing_checkpoint_is_refused_with_its_path():
    with pytest.raises(CheckpointError, match=r"no file /nowhere/w\.pth"):
        loading.load_model(Config(checkpoint="/nowhere/w.pth", device="cpu"))


def test_an_empty_checkpoint_is_the_model_that_ships(tmp_path, monkeypatch):
    # Stands in for the shipped file, so that the test does not depend on what was trained last.
    (tmp_path / "weights").mkdir()
    weights_of("spann3r", tmp_path / "weights" / "apartment.safetensors")
    monkeypatch.setattr(loading.importlib.resources, "files", lambda _package: tmp_path)
    model = load_stream(Config(device="cpu")).model
    assert model.weights == "demo weights (apartment.safetensors)"
    assert model.weights.startswith(DEMO_WEIGHTS)


def test_an_installation_without_the_shipped_model_says_so(monkeypatch):
    monkeypatch.setattr(loading, "_SHIPPED", "absent.safetensors")
    with pytest.raises(CheckpointError, match=r"models/weights/absent\.safetensors.*Set the parameter `checkpoint`"):
        loading.load_model(Config(device="cpu"))


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert loading.pick_device("auto").type == loading.pick_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match=r"parameter 'device': got cuda; expected auto or cpu.*This PyTorch"):
        loading.pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert loading.pick_device("auto").type == loading.pick_device("cuda").type == "cuda"
    assert loading.pick_device("cpu").type == "cpu"


def test_only_the_parameter_model_tells_families_of_the_same_names_apart(monkeypatch):
    twin = dataclasses.replace(registry.FAMILIES["vggt"], name="twin")
    monkeypatch.setitem(registry.FAMILIES, "twin", twin)
    names = ["aggregator.frame_blocks.0.x", "aggregator.global_blocks.0.x", "camera_head.x"]
    assert registry.recognized(names, "w").name == "vggt"
    assert registry.recognized(names, "w", "twin").name == "twin"
    assert registry.recognized(names, "w", "spann3r").name == "vggt"
    assert registry.alike(twin)[0] == "twin" and set(registry.alike(twin)) >= {"vggt", "twin"}
