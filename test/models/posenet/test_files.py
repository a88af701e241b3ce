"""The ways in which PoseNet's tensors are called, the containers of its files, and the mean image beside them."""

from __future__ import annotations

from pathlib import Path

import caffe_writer
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import load_into, read_checkpoint, write_checkpoint
from spann3r_ros.models.loading import empty_network, load_model, load_relocalizer
from spann3r_ros.models.posenet.architecture import PosenetArchitecture, scaled
from spann3r_ros.models.posenet.files import LAYERS
from spann3r_ros.models.posenet.network import PosenetNetwork

SIZES = scaled(16, mean_size=(2, 3))


def state(architecture: PosenetArchitecture = SIZES) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: p.detach() for name, p in PosenetNetwork(architecture).named_parameters()}


def renamed(way: int) -> dict[str, torch.Tensor]:
    """As the authors (0) and the port (1) call them."""
    found = {}
    for name, tensor in state().items():
        layer, _, kind = name.rpartition(".")
        found[f"{LAYERS[layer][way]}.{kind}"] = tensor
    return found


def mean_beside(folder: Path, mean: object = None) -> None:
    np.save(folder / "mean_image.npy", np.full((2, 3, 3), 80.0) if mean is None else mean, allow_pickle=True)


def test_our_own_files_tell_everything(tmp_path: Path) -> None:
    architecture = scaled(16, mean_size=(2, 3), pool="padded", rotation="camera_from_world")
    write_checkpoint(tmp_path / "own.safetensors", {**state(), "mean_image": torch.ones(3, 2, 3)}, architecture)
    checkpoint = read_checkpoint(tmp_path / "own.safetensors")
    assert (checkpoint.family, checkpoint.architecture, checkpoint.origin) == ("posenet", architecture, "metadata")
    load_into(empty_network(architecture), checkpoint)


def test_the_ports_files_are_read_with_their_doubles(tmp_path: Path) -> None:
    tensors = renamed(1)
    inner = {name: tensor for name, tensor in tensors.items() if not name.startswith("before_inception")}
    doubles = {f"model.3.{name}": tensor for name, tensor in inner.items()}
    assert (len(tensors), len(doubles)) == (136, 130)
    torch.save({**tensors, **doubles}, tmp_path / "500_net_G.pth")
    mean_beside(tmp_path)
    checkpoint = read_checkpoint(tmp_path / "500_net_G.pth")
    found = checkpoint.architecture
    assert isinstance(found, PosenetArchitecture) and checkpoint.origin == "shapes"
    assert (found.pool, found.channels, found.unit_quaternion) == ("padded", "rgb", True)
    assert found.inceptions == SIZES.inceptions and found.mean_size == (2, 3)
    assert len(checkpoint.unused) == 130 and float(checkpoint.state["mean_image"].mean()) == 80.0
    load_into(empty_network(found), checkpoint)
    for name, tensor in state().items():
        assert torch.equal(checkpoint.state[name], tensor)


def test_the_authors_layers_are_read_with_caffes_shapes(tmp_path: Path) -> None:
    def caffe(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor[None, None].contiguous() if "fc" in name and name.endswith("weight") else tensor

    tensors = {name: caffe(name, tensor) for name, tensor in renamed(0).items()}
    assert tensors["cls2_fc1.weight"].ndim == 4  # sic: the second one has no suffix
    save_file(tensors, tmp_path / "authors.safetensors")
    mean_beside(tmp_path)
    checkpoint = read_checkpoint(tmp_path / "authors.safetensors")
    found = checkpoint.architecture
    assert isinstance(found, PosenetArchitecture)
    assert (found.pool, found.channels, found.unit_quaternion) == ("ceil", "bgr", False)
    load_into(empty_network(found), checkpoint)
    assert torch.equal(checkpoint.state["pose2.fc.weight"], state()["pose2.fc.weight"])


def layers(way: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(weight, bias) of the layers, as the authors call them."""
    tensors = renamed(way)
    names = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
    return {name: (tensors[f"{name}.weight"].numpy(), tensors[f"{name}.bias"].numpy()) for name in names}


def assert_authors(path: Path, mean: object) -> None:
    checkpoint = read_checkpoint(path)
    found = checkpoint.architecture
    assert isinstance(found, PosenetArchitecture) and (found.inceptions, found.mean_size) == (SIZES.inceptions, (2, 3))
    assert (found.pool, found.channels, found.unit_quaternion) == ("ceil", "bgr", False)
    load_into(empty_network(found), checkpoint)
    for name, tensor in state().items():
        assert torch.equal(checkpoint.state[name], tensor), name
    np.testing.assert_array_equal(checkpoint.state["mean_image"], mean)


@pytest.mark.parametrize("legacy", [True, False], ids=["V1 layers", "layers of today"])
def test_the_authors_caffemodel_is_read_with_its_mean(tmp_path: Path, legacy: bool) -> None:
    bgr = np.arange(18, dtype=np.float32).reshape(3, 2, 3)
    (tmp_path / "kings.caffemodel").write_bytes(caffe_writer.network(layers(), legacy))
    (tmp_path / "whatever.binaryproto").write_bytes(caffe_writer.blob(bgr))
    assert_authors(tmp_path / "kings.caffemodel", bgr[::-1])
    assert load_relocalizer(tmp_path / "kings.caffemodel", "cpu").name == "posenet"


def test_of_several_mean_images_that_of_the_scene_is_taken(tmp_path: Path) -> None:
    (tmp_path / "kings.caffemodel").write_bytes(caffe_writer.network(layers()))
    for number, name in enumerate(("a", "b")):
        (tmp_path / f"{name}.binaryproto").write_bytes(caffe_writer.blob(np.full((3, 2, 3), number, np.float32)))
    with pytest.raises(CheckpointError, match=r"got a\.binaryproto, b\.binaryproto, and none is called .*Call that of"):
        read_checkpoint(tmp_path / "kings.caffemodel")
    for number, name in ((2, "kings"), (3, "mean_image")):
        (tmp_path / f"{name}.binaryproto").write_bytes(caffe_writer.blob(np.full((3, 2, 3), number, np.float32)))
        assert float(read_checkpoint(tmp_path / "kings.caffemodel").state["mean_image"].mean()) == number


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (caffe_writer.blob(np.zeros((1, 2, 3), np.float32)), r"mean image .*shape \[1, 1, 2, 3\]"),
        (caffe_writer.blob(np.full((3, 2, 3), 256, np.float32)), r"mean image .*0 \.\. 255"),
        (caffe_writer.blob(np.zeros((3, 2, 3), np.float32))[:-3], r"m\.binaryproto is damaged or cut short"),
        (b"hello", r"m\.binaryproto is damaged"),
    ],
)
def test_a_caffe_mean_that_is_no_image_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "kings.caffemodel").write_bytes(caffe_writer.network(layers()))
    (tmp_path / "m.binaryproto").write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(tmp_path / "kings.caffemodel")


def test_weights_converted_for_tensorflow_are_turned_back(tmp_path: Path) -> None:
    def turned(name: str, weight: np.ndarray) -> np.ndarray:
        if weight.ndim == 4:
            return weight.transpose(2, 3, 1, 0)
        if name in ("cls1_fc1_pose", "cls2_fc1"):  # TensorFlow flattens by (row, column, channel)
            weight = weight.reshape(len(weight), -1, 4, 4).transpose(0, 2, 3, 1).reshape(len(weight), -1)
        return weight.T

    found = {name: {"weights": turned(name, weight), "biases": bias} for name, (weight, bias) in layers().items()}
    np.save(tmp_path / "posenet.npy", found, allow_pickle=True)  # type: ignore[arg-type]
    mean_beside(tmp_path)
    assert_authors(tmp_path / "posenet.npy", np.full((3, 2, 3), 80.0))


def test_a_file_for_testing_only_lacks_the_auxiliary_regressors(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in renamed(1).items() if not name.startswith(("cls1", "cls2"))}
    torch.save(tensors, tmp_path / "test_only.pth")
    mean_beside(tmp_path)
    checkpoint = read_checkpoint(tmp_path / "test_only.pth")
    assert isinstance(checkpoint.architecture, PosenetArchitecture) and not checkpoint.architecture.auxiliary
    load_into(empty_network(checkpoint.architecture), checkpoint)
    assert load_relocalizer(tmp_path / "test_only.pth", "cpu").name == "posenet"


def test_without_a_mean_image_the_weights_mean_nothing(tmp_path: Path) -> None:
    torch.save(renamed(1), tmp_path / "net_G.pth")
    with pytest.raises(CheckpointError, match=r"no mean image beside .*net_G.pth: got no file mean_image.npy or \*"):
        read_checkpoint(tmp_path / "net_G.pth")


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize(
    "mean",
    [np.zeros((4, 4)), np.full((2, 3, 3), np.nan), np.full((2, 3, 3), 256.0), np.array(["x"]), np.array([{}])],
    ids=["gray", "nan", "too large", "text", "pickle"],
)
def test_a_mean_image_that_is_none_is_refused(tmp_path: Path, mean: object) -> None:
    torch.save(renamed(1), tmp_path / "net_G.pth")
    mean_beside(tmp_path, mean)
    with pytest.raises(CheckpointError, match=r"mean image .*expected an array \(H, W, 3\)"):
        read_checkpoint(tmp_path / "net_G.pth")


def test_a_missing_layer_is_named(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in renamed(1).items() if "inception_4b.branch_x3.0" not in name}
    torch.save(tensors, tmp_path / "net_G.pth")
    mean_beside(tmp_path)
    with pytest.raises(CheckpointError, match=r"tensor inception4b\.branch2\.0\.weight.*got nothing; expected 4 axes"):
        read_checkpoint(tmp_path / "net_G.pth")


def test_relocalizers_and_maps_refuse_each_others_weights(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    write_checkpoint(path, {**state(), "mean_image": torch.ones(3, 2, 3)}, SIZES)
    with pytest.raises(CheckpointError, match=r"got posenet; expected spann3r\. It maps nothing: use .* localize "):
        load_model(Config(checkpoint=str(path), device="cpu"))
    from tiny_models import tiny_architecture, tiny_network

    write_checkpoint(path, tiny_network(), tiny_architecture())
    with pytest.raises(CheckpointError, match=r"no weights of a relocalizer: got spann3r.*Use it with the param"):
        load_relocalizer(path, "cpu")
