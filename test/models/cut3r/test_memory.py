from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import random_frames

from spann3r_ros.errors import MemoryMismatchError
from spann3r_ros.memory.recurrent import RecurrentState
from spann3r_ros.memory.snapshot import read_snapshot, write_snapshot
from spann3r_ros.models.cut3r.memory import Cut3rMemory
from spann3r_ros.models.pointmap import View

INITIAL = {"state": torch.zeros(1, 4, 2, dtype=torch.bfloat16), "poses": torch.zeros(1, 3, 5)}


def filled() -> Cut3rMemory:
    torch.manual_seed(0)
    tensors = {name: torch.randn(tensor.shape).to(tensor.dtype) for name, tensor in INITIAL.items()}
    views = [View(frame, frame.image[:32, :48], None) for frame in random_frames(2)]
    return Cut3rMemory("me", (48, 64), RecurrentState(tensors, 7, 5), views)


def test_it_is_kept_bit_for_bit(tmp_path: Path) -> None:
    memory = filled()
    memory.save(tmp_path / "m")
    again = Cut3rMemory.load(tmp_path / "m", "me", INITIAL)
    assert again.state is not None and memory.state is not None
    assert (again.image_size, again.state.counters()) == ((48, 64), {"frames": 7, "updates": 5})
    assert all(torch.equal(tensor, memory.state.tensors[name]) for name, tensor in again.state.tensors.items())
    assert [view.frame.index for view in again.held] == [0, 1]
    assert (again.held[1].frame.image == memory.held[1].frame.image).all()
    assert repr(again.status()) == repr(memory.status())


def test_an_empty_one_is_kept(tmp_path: Path) -> None:
    Cut3rMemory("me").save(tmp_path / "m")
    again = Cut3rMemory.load(tmp_path / "m", "me", INITIAL)
    assert again.state is None and again.held == [] and again.image_size is None


def test_its_size_does_not_grow() -> None:
    status = filled().status()
    assert (status.tokens, status.capacity, status.offered, status.rejected) == (7, 7, 7, 2)
    assert status.bytes == 4 * 2 * 2 + 3 * 5 * 4 + 2 * (48 * 64 + 32 * 48) * 3


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize(
    ("tensors", "state"),
    [
        ({"state.state": torch.zeros(1, 5, 2, dtype=torch.bfloat16)}, {}),
        ({"state.poses": torch.zeros(1, 3, 5, dtype=torch.float16)}, {}),
        ({"state.other": torch.zeros(1, 3, 5)}, {}),
        ({}, {"counters": {"frames": 1}}),
        ({}, {"counters": {"frames": "x", "updates": 0}}),
        ({}, {"image_size": [1]}),
        ({}, {"held": [{}]}),
        ({}, {"held": 3}),
        ({"state.poses": torch.full((1, 3, 5), float("nan"))}, {}),
    ],
)
def test_crafted_files_are_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
    filled().save(tmp_path / "m")
    kept, said = read_snapshot(tmp_path / "m", "me")
    write_snapshot(tmp_path / "n", "me", {**kept, **tensors}, {**said, **state})
    with pytest.raises(MemoryMismatchError):
        Cut3rMemory.load(tmp_path / "n", "me", INITIAL)
