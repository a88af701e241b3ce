"""Memories as files: tensors, and a JSON of everything else, in one safetensors file."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spann3r_ros.errors import MemoryMismatchError

FORMAT = "spann3r_ros.memory.1"


@dataclass(frozen=True, eq=False)
class MemorySnapshot:
    """Everything that a memory holds.

    Attributes:
        owner: fingerprint of the network.
        tensors: by name, on whatever device; those of the memory itself until ``copied``.
        state: all the rest, as JSON takes it.
    """

    owner: str
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def copied(self) -> MemorySnapshot:
        """With tensors of its own on the same device, so that the memory may go on; no synchronization."""
        return MemorySnapshot(self.owner, {name: tensor.clone() for name, tensor in self.tensors.items()}, self.state)

    def write(self, path: Path) -> None:
        """Write it as ``read_snapshot`` reads it."""
        write_snapshot(path, self.owner, self.tensors, self.state)


class KeptMemory(ABC):
    """A memory that can be written to a file."""

    @abstractmethod
    def snapshot(self) -> MemorySnapshot:
        """Everything it holds, without a copy."""

    def save(self, path: Path) -> None:
        """Write everything as safetensors; a run resumed from the file continues bit for bit."""
        self.snapshot().write(path)


def write_snapshot(path: Path, owner: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors bit for bit, and ``state`` as JSON; ``owner`` is the fingerprint of the network.

    Raises:
        OSError: what the disk says.
    """
    # A copy each: safetensors wants every tensor contiguous and in storage of its own.
    stored = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    try:
        save_file(stored, path, metadata={"format": FORMAT, "owner": owner, "state": json.dumps(state)})
    except SafetensorError as error:  # which is all that it says of a full disk
        raise OSError(f"{path} cannot be written: {error}") from error


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
