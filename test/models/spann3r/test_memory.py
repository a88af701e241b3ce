"""Memories that a damaged or crafted file holds: refused at once, at no cost."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_models import random_frames

from spann3r_ros.errors import MemoryMismatchError
from spann3r_ros.models.spann3r.model import Spann3r

State = dict[str, Any]
Tensors = dict[str, torch.Tensor]


def tampered(path: Path, change: Callable[[State, Tensors], object]) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = json.loads(metadata["state"])
    change(state, tensors)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, path, {**metadata, "state": json.dumps(state)}
    )


CRAFTED: dict[str, Callable[[State, Tensors], object]] = {
    "no grid": lambda s, _: s.pop("grid"),
    "grid of texts": lambda s, _: s.update(grid=["a", "b"]),
    "grid of three": lambda s, _: s.update(grid=[1, 2, 3]),
    "another grid": lambda s, _: s.update(grid=[4, 3]),
    "grid of another product": lambda s, _: s.update(grid=[40, 3]),
    "no sizes": lambda s, _: s.pop("sizes"),
    "3 million tokens": lambda s, _: s["sizes"].update(long_term_tokens=3_000_000),
    "2^40 working frames": lambda s, _: s["sizes"].update(working_frames=2**40),
    "tokens as a text": lambda s, _: s["sizes"].update(long_term_tokens="many"),
    "batch of 1000": lambda s, _: s["sizes"].update(batch=1000),
    "more tokens than there are": lambda s, _: s["counters"].update(tokens=10**9),
    "negative tokens": lambda s, _: s["counters"].update(tokens=-1),
    "no counters": lambda s, _: s.pop("counters"),
    "counter of texts": lambda s, _: s["counters"].update(offered="x"),
    "no view's stamp": lambda s, _: s["view"].pop("stamp"),
    "intrinsics of 0": lambda s, _: s["view"].update(camera_intrinsics={"fx": 0}),
    "no features": lambda _, t: t.pop("pending.features"),
    "features of another width": lambda _, t: t.update({"pending.features": torch.zeros(1, 12, 8)}),
    "no keys": lambda _, t: t.pop("spatial.keys"),
    "flat keys": lambda _, t: t.update({"spatial.keys": torch.zeros(5)}),
    "image of floats": lambda _, t: t.update({"view.image": torch.zeros(48, 64, 3)}),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_a_crafted_memory_is_refused(model: Spann3r, tmp_path: Path, case: str) -> None:
    memory = model.new_memory()
    for frame in random_frames(4):
        model.step(frame, memory)
    path = tmp_path / "memory.safetensors"
    memory.save(path)
    before = copy.copy(model.load_memory(path))
    assert before.grid == (3, 4)
    tampered(path, CRAFTED[case])
    with pytest.raises(MemoryMismatchError):
        model.load_memory(path)
