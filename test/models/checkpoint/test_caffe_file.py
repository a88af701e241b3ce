"""Caffe's files: blobs of both kinds of layers arrive as they were written, and damaged files are refused by name."""

from __future__ import annotations

from pathlib import Path

import caffe_writer
import numpy as np
import pytest
import torch
from caffe_writer import field, network, number_field, varint

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.caffe_file import read_blob
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file

CONV = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
FC = np.arange(6, dtype=np.float32).reshape(3, 2)
BIAS = np.array([-1.5, 2.5], np.float32)
LAYERS = {"conv1": (CONV, BIAS), "fc/one": (FC,)}


@pytest.mark.parametrize("legacy", [True, False], ids=["V1 layers", "layers of today"])
@pytest.mark.parametrize("name", ["PoseNet", ""])
def test_blobs_are_tensors_named_after_their_layers(tmp_path: Path, legacy: bool, name: str) -> None:
    if not legacy and not name:
        pytest.skip("Caffe writes a name since it has these layers")
    (tmp_path / "a.caffemodel").write_bytes(network(LAYERS, legacy, name))
    file = read_tensor_file(tmp_path / "a.caffemodel")
    assert {name: tuple(tensor.shape) for name, tensor in file.tensors.items()} == {
        "conv1.weight": (2, 3, 2, 2),
        "conv1.bias": (1, 1, 1, 2) if legacy else (2,),
        "fc/one.weight": (1, 1, 3, 2) if legacy else (3, 2),
    }
    assert all(tensor.dtype == torch.float32 for tensor in file.tensors.values())
    for found, written in zip(file.tensors.values(), (CONV, BIAS, FC), strict=True):
        np.testing.assert_array_equal(found.numpy().reshape(written.shape), written)


def test_a_mean_image_is_one_blob(tmp_path: Path) -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    (tmp_path / "mean.binaryproto").write_bytes(caffe_writer.blob(image))
    np.testing.assert_array_equal(read_blob(tmp_path / "mean.binaryproto"), image[None])


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_a_network_that_is_cut_short_is_refused(tmp_path: Path, kept: float) -> None:
    content = network(LAYERS)
    (tmp_path / "a.caffemodel").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match=r"a\.caffemodel (is damaged or cut short|holds no layers)"):
        read_tensor_file(tmp_path / "a.caffemodel")


def hostile(layer: bytes) -> bytes:
    return field(1, b"net") + field(2, field(4, b"conv1") + layer) + bytes(16)


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (hostile(field(6, number_field(1, 2**62) + field(5, bytes(4)))), r"a blob of shape \[4611686018427387904"),
        (hostile(field(6, field(5, bytes(6)))), r"a blob of shape \[1, 1, 1, 1\] with 6 bytes"),
        (hostile(field(6, b"")), r"a blob of shape .* with 0 bytes"),
        (hostile(field(6, field(7, field(1, b"\x01" * 40)) + field(5, bytes(4)))), "a blob of shape"),
        (hostile(varint(6 << 3 | 2) + varint(2**60)), "field 6 of 1,152,921,504,606,846,976 bytes where 0 are left"),
        (hostile(b"\xff" * 12), "a number of more than 10 bytes"),
        (hostile(field(4, b"\xff\xfe")), "can't decode byte"),
        (hostile(b"\x33" + bytes(20)), "wire type 3"),
        (network({"conv1": (CONV,)}) + network({"conv1": (CONV,)}), r"two layers give conv1\.weight"),
    ],
)
def test_a_hostile_network_is_refused_with_its_place(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.caffemodel").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"a\.caffemodel is damaged or cut short: got .*{reason}"):
        read_tensor_file(tmp_path / "a.caffemodel")


def test_a_network_without_weights_says_what_else_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "a.caffemodel").write_bytes(network({}))
    with pytest.raises(CheckpointError, match=r"holds no layers with weights; .*upgrade_net_proto_binary"):
        read_tensor_file(tmp_path / "a.caffemodel")
