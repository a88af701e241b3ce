"""Tensors that are mapped from a file, read into memory of their own.

Whoever touches a mapped page of a file that was truncated is ended by the system (SIGBUS); whoever reads the file is
told that it is short. So a copy is read from where a tensor lies in the file, and the mapping only tells where.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from spann3r_ros.errors import CheckpointError

_MAPS = Path("/proc/self/maps")


@dataclass(frozen=True)
class _Mapping:
    """Addresses ``begin`` to ``end`` show the file from ``offset`` on."""

    begin: int
    end: int
    offset: int


def private_copies(tensors: Mapping[str, torch.Tensor], path: Path, opened: os.stat_result) -> dict[str, torch.Tensor]:
    """The same tensors with memory of their own; costs what they hold, and nothing of what else is in the file.

    Args:
        tensors: by name, on the CPU, mapped from the file or not.
        path: of the file.
        opened: what the file was when it was mapped.

    Raises:
        CheckpointError: the file has become shorter.
    """
    try:
        file = path.open("rb", buffering=0)
    except OSError:
        return {name: tensor.clone() for name, tensor in tensors.items()}  # a file without a name stays whole
    with file:
        same = os.path.samestat(os.fstat(file.fileno()), opened)
        maps = _mappings(path) if same else []
        return {name: _copy(tensor, maps, file.fileno(), path) for name, tensor in tensors.items()}


def _mappings(path: Path) -> list[_Mapping]:
    """Where the file is mapped; nothing where the system does not tell (it is Linux that does)."""
    found = []
    try:
        text = _MAPS.read_text(errors="surrogateescape")
    except OSError:
        return []
    wanted = os.path.realpath(path)
    for line in text.splitlines():
        words = line.split(maxsplit=5)
        if len(words) == 6 and words[5] == wanted:
            begin, end = (int(word, 16) for word in words[0].split("-"))
            found.append(_Mapping(begin, end, int(words[2], 16)))
    return found


def _copy(tensor: torch.Tensor, maps: list[_Mapping], file: int, path: Path) -> torch.Tensor:
    address = tensor.data_ptr()
    place = next((each for each in maps if each.begin <= address < each.end), None)
    if place is None or tensor.numel() == 0:
        return tensor.clone()
    span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    copy = torch.empty(span, dtype=tensor.dtype)
    content: memoryview = copy.view(torch.uint8).numpy().data
    offset, done = address - place.begin + place.offset, 0
    while done < len(content):
        read = os.preadv(file, [content[done:]], offset + done)
        if read == 0:
            raise CheckpointError(
                f"{path} was cut short while it was read",
                got=f"{os.fstat(file).st_size:,} bytes",
                expected=f"at least {offset + len(content):,}",
                next_step="Wait until whatever writes it is done, and load it again",
            )
        done += read
    return copy.as_strided(tensor.shape, tensor.stride())
