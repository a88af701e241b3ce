"""Copies of mapped tensors are equal to them, and independent of the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.private_copy import _mappings, private_copies
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file

TENSORS = {
    "matrix": torch.arange(6000.0).reshape(60, 100),
    "half": torch.arange(300).to(torch.bfloat16),
    "scalar": torch.tensor(3.5),
    "none": torch.zeros(0, 4),
    "whole numbers": torch.arange(20),
}


@pytest.fixture(params=["w.pth", "w.safetensors"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / str(request.param)
    if path.suffix == ".pth":
        torch.save({**TENSORS, "turned": TENSORS["matrix"].T, "part": TENSORS["matrix"][3:9, ::7]}, path)
    else:
        save_file(TENSORS, path)
    return path


def test_copies_are_equal_and_have_memory_of_their_own(path: Path) -> None:
    mapped = read_tensor_file(path).tensors
    assert _mappings(path), "or this tests the copying of what is in memory"
    copies = private_copies(mapped, path, path.stat())
    assert copies.keys() == mapped.keys()
    for name, tensor in mapped.items():
        assert torch.equal(copies[name], tensor) and copies[name].dtype == tensor.dtype, name
        assert tensor.numel() == 0 or copies[name].data_ptr() != tensor.data_ptr(), name
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    for name, tensor in TENSORS.items():
        assert torch.equal(copies[name], tensor), name


def test_a_file_that_was_cut_is_refused(path: Path) -> None:
    mapped, opened = read_tensor_file(path).tensors, path.stat()
    os.truncate(path, 2000)
    with pytest.raises(CheckpointError, match="cut short while it was read: got 2,000 bytes"):
        private_copies(mapped, path, opened)


def test_a_file_that_was_replaced_or_deleted_stays_whole(path: Path, tmp_path: Path) -> None:
    mapped, opened = read_tensor_file(path).tensors, path.stat()
    (tmp_path / "new").write_bytes(b"another file")
    (tmp_path / "new").replace(path)
    for copies in (private_copies(mapped, path, opened), path.unlink() or private_copies(mapped, path, opened)):
        assert all(torch.equal(copies[name], tensor) for name, tensor in TENSORS.items())
