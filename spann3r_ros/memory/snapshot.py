"""Memories as files: tensors, and a JSON of everything else, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spann3r_ros.errors import MemoryMismatchError

FORMAT = "spann3r_ros.memory.1"


def write_snapshot(path: Path, owner: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors bit for bit, and ``state`` as JSON; ``owner`` is the fingerprint of the network."""
    # A copy each: safetensors wants every tensor contiguous and in storage of its own.
    stored = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    save_file(stored, path, metadata={"format": FORMAT, "owner": owner, "state": json.dumps(state)})


def read_snapshot(path: Path, owner: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and state that ``write_snapshot`` wrote.

    Raises:
        MemoryMismatchError: no such file, a damaged one, another format, or a memory of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # A copy each: what lies in the file's own pages would go or change with the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise MemoryMismatchError(
            f"memory file {path} cannot be read", got=error, expected="what save() wrote"
        ) from error
    if metadata.get("format") != FORMAT:
        raise MemoryMismatchError(f"format of {path}", got=metadata.get("format"), expected=FORMAT)
    if metadata.get("owner") != owner:
        raise MemoryMismatchError(
            f"memory {path} belongs to another network",
            got=metadata.get("owner"),
            expected=owner,
            next_step="Load it with the weights and the precision that it was made with",
        )
    with memory_file(path):
        state: dict[str, Any] = json.loads(metadata["state"])
        if not isinstance(state, dict):
            raise TypeError(f"state of type {type(state).__name__}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise MemoryMismatchError(
                f"tensor {name} of the memory {path}",
                got=f"{bad} of {tensor.numel()} values are NaN or infinite",
                next_step="It would spoil every later frame: take the memory from a backup, or begin anew",
            )
    return tensors, state


@contextmanager
def memory_file(path: Path) -> Iterator[None]:
    """Turn whatever damaged or crafted content raises while it is read into a MemoryMismatchError."""
    try:
        yield
    except MemoryMismatchError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise MemoryMismatchError(
            f"memory file {path} does not hold what it should",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            expected="what save() wrote",
        ) from error
