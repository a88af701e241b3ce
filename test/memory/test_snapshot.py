from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spann3r_ros.errors import MemoryMismatchError
from spann3r_ros.memory.snapshot import MemorySnapshot, read_snapshot, write_snapshot


def test_tensors_come_back_bit_for_bit_even_when_they_share_storage(tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    tensors = {"a": base, "b": base, "part": base[:, ::2], "half": base.bfloat16(), "zero": torch.tensor([-0.0])}
    write_snapshot(tmp_path / "m", "owner", tensors, {"count": 3})
    found, state = read_snapshot(tmp_path / "m", "owner")
    assert state == {"count": 3}
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].contiguous().view(torch.uint8).tolist() == tensor.contiguous().view(torch.uint8).tolist()


def test_other_owners_formats_and_damage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write_snapshot(path, "owner", {"a": torch.zeros(100)}, {})
    with pytest.raises(MemoryMismatchError, match="got owner; expected stranger"):
        read_snapshot(path, "stranger")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(MemoryMismatchError, match="cannot be read"):
        read_snapshot(path, "owner")
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(MemoryMismatchError, match=r"format of .*; expected spann3r_ros\.memory\.1"):
        read_snapshot(path, "owner")


@pytest.mark.parametrize("state", ["[1]", "text", '"text"', "[" * 100_000, "1" * 5000, ""])
def test_a_state_that_is_none_is_refused(tmp_path: Path, state: str) -> None:
    metadata = {"format": "spann3r_ros.memory.1", "owner": "owner", "state": state}
    save_file({"a": torch.zeros(1)}, tmp_path / "m", metadata)
    with pytest.raises(MemoryMismatchError, match="does not hold what it should"):
        read_snapshot(tmp_path / "m", "owner")


@pytest.mark.fault("not finite")
def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "m", "owner", {"a": torch.zeros(3), "b": torch.tensor([1.0, torch.nan, torch.inf])}, {})
    with pytest.raises(MemoryMismatchError, match=r"tensor b .*got 2 of 3 values are NaN or infinite"):
        read_snapshot(tmp_path / "m", "owner")


def test_what_the_disk_says_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="cannot be written"):
        write_snapshot(tmp_path / "nowhere" / "m", "owner", {"a": torch.zeros(3)}, {})


def test_a_copy_keeps_what_the_memory_held(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3)[:, :2], "b": torch.ones(1)}
    copy = MemorySnapshot("owner", tensors, {"count": 3}).copied()
    for tensor in tensors.values():
        tensor.zero_()
    copy.write(tmp_path / "m")
    kept, state = read_snapshot(tmp_path / "m", "owner")
    assert kept["a"].tolist() == [[0.0, 1.0], [3.0, 4.0]] and kept["b"].tolist() == [1.0] and state == {"count": 3}
