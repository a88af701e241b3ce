"""Dictionaries of NumPy arrays that were pickled, or saved in a ``.npy``, as tensors; nothing of them is run."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy

from spann3r_ros.errors import CheckpointError
from spann3r_ros.files.arrays import DAMAGE
from spann3r_ros.models.checkpoint.plain_pickle import (
    ForeignClass,
    PickledArray,
    PickledType,
    PlainUnpickler,
    as_text,
    of_kind,
)

LARGEST = 2**31
"""Bytes of a file; all known ones have less than a tenth."""

MOST_NAMES = 10000
"""Arrays of a file; a reference costs a byte, so that a small file could name very many."""

NPY = b"\x93NUMPY"

OLD_PICKLES = (b"(dp", b"ccollections\nOrderedDict")
"""How dictionaries begin that Python 2 pickled as text."""


def read_arrays(path: Path) -> dict[str, torch.Tensor]:
    """The arrays of a pickle or of a .npy that holds one, as tensors in memory of their own.

    Returns:
        By name; of dictionaries and lists within the dictionary, the names or numbers follow after a dot.

    Raises:
        CheckpointError: a damaged, hostile or too large file, or one that holds something else.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise CheckpointError(f"size of {path}", got=f"{size:,} bytes", expected=f"at most {LARGEST:,}")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read", got=error, next_step="Check its permissions") from error
    try:
        file = io.BytesIO(content)
        if content.startswith(NPY):
            _skip_header(file)
        value = PlainUnpickler(file, len(content)).run()
        if isinstance(value, PickledArray) and _code(value) == "O":
            value = value.content[0] if isinstance(value.content, list) and len(value.content) == 1 else value.content
        return _tensors(value)
    except ForeignClass as error:
        raise CheckpointError(
            f"{path} wants to run code when it is opened; nothing was run",
            got=f"a use of {error}",
            expected="a dictionary of NumPy arrays only",
            next_step="Do not trust this file. Take the weights from their authors "
            "(`python -m spann3r_ros models list`)",
        ) from error
    except DAMAGE as error:
        raise CheckpointError(
            f"{path} is damaged or holds no arrays by name",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            expected="a dictionary of arrays of floating point numbers, pickled by NumPy",
            next_step="Fetch it again, or write its arrays as .safetensors",
        ) from error


def _skip_header(file: io.BytesIO) -> None:
    version = npy.read_magic(file)
    reader: Callable[..., Any] = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    _, _, dtype = reader(file)
    if not dtype.hasobject:
        raise ValueError(f"one array of {dtype}, without names")


def _code(array: PickledArray) -> str:
    """The array's type without its byte order; "O" for one of objects."""
    code = as_text(of_kind(array.type, PickledType).code).lstrip("<>=|")
    return "O" if code in ("O", "O4", "O8") else code


def _tensors(value: object) -> dict[str, torch.Tensor]:
    """Tensors by name of a dictionary of arrays, of dictionaries of arrays, or of lists of arrays."""
    tensors: dict[str, torch.Tensor] = {}
    known: dict[int, torch.Tensor] = {}
    for name, entry in of_kind(value, dict).items():
        inner = dict(enumerate(entry)) if isinstance(entry, (list, tuple)) else entry
        parts = {as_text(name): entry}
        if isinstance(inner, dict):
            parts = {f"{as_text(name)}.{as_text(key)}": part for key, part in inner.items()}
        for full, array in parts.items():
            if id(array) not in known:
                known[id(array)] = _tensor(full, of_kind(array, PickledArray))
            tensors[full] = known[id(array)]
            if len(tensors) > MOST_NAMES:
                raise ValueError(f"more than {MOST_NAMES} arrays")
    if not tensors:
        raise ValueError("an empty dictionary")
    return tensors


def _tensor(name: str, array: PickledArray) -> torch.Tensor:
    code, order = _code(array), of_kind(array.type, PickledType).order
    if not re.fullmatch(r"f[248]", code) or order not in ("<", ">", "=", "|"):
        raise ValueError(f"{name} of type {order}{code}")
    shape, content = of_kind(array.shape, tuple), of_kind(array.content, (bytes, bytearray))
    if len(shape) > 32 or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{name} of shape {shape[:8]}")
    dtype = np.dtype(f"{order}{code}")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{name} of shape {shape} with {len(content):,} bytes")
    values = np.frombuffer(content, dtype).reshape(shape, order="F" if array.fortran else "C")
    return torch.from_numpy(np.array(values, dtype.newbyteorder("="), order="C"))
