"""Caffe's files, read without Caffe: networks (``.caffemodel``) and mean images (``.binaryproto``).

Both are protocol buffers, of which only the few fields with numbers in them are looked at; the others are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from spann3r_ros.errors import CheckpointError

LARGEST = 2**31
"""Bytes of a file; protocol buffers end there."""

_NAME, _OLD_LAYER, _LAYER = 1, 2, 100
"""Fields of a network; layers are other messages since 2014, and both are read."""

_FIELDS = {_OLD_LAYER: (4, 6), _LAYER: (1, 7)}
"""Of a layer: where its name and its blobs are."""

_LEGACY_AXES, _DATA, _SHAPE = (1, 2, 3, 4), 5, 7
"""Of a blob: (num, channels, height, width) of old ones, the numbers, and the shape of new ones."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Field: TypeAlias = "tuple[int, int | memoryview]"
"""Number and content of a field; numbers of fixed size are given as their bytes."""


def looks_like_network(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a .caffemodel: a printable name, then a layer or an input."""
    if head[:1] != b"\n":
        return head[:1] == b"\x12" and b'"' in head[2:]  # without a name, a layer of old comes first
    length = head[1]
    name, follower = head[2 : 2 + length], head[2 + length : 3 + length]
    is_name = 0 < length < 128 and name.isascii() and name.decode().isprintable()
    return is_name and follower in (b"\x12", b"\x1a", b'"', b"(", b"2", b"\xa2")


def read_network(path: Path) -> dict[str, torch.Tensor]:
    """Blobs of a .caffemodel as float32 tensors, in the shapes in which they are stored.

    Returns:
        ``LAYER.weight`` and ``LAYER.bias``, further blobs as ``LAYER.2`` and so on; layers without blobs are left out.

    Raises:
        CheckpointError: a damaged or truncated file, one that is too large, two layers of one name, or no blobs.
    """
    tensors: dict[str, torch.Tensor] = {}
    try:
        for number, layer in _fields(_content(path)):
            if number not in _FIELDS or isinstance(layer, int):
                continue
            name, blobs = _layer(layer, *_FIELDS[number])
            kinds = ("weight", "bias", *map(str, range(2, len(blobs))))
            found = {f"{name}.{kind}": _tensor(blob) for kind, blob in zip(kinds, blobs, strict=False)}
            if double := found.keys() & tensors.keys():
                raise ValueError(f"two layers give {min(double)}")
            tensors |= found
    except ValueError as error:
        raise _damaged(path, error) from error
    if not tensors:
        raise CheckpointError(
            f"{path} holds no layers with weights",
            expected="a .caffemodel of a trained network",
            next_step="Networks of 2013 (V0) are not read: Caffe's upgrade_net_proto_binary makes newer ones of them",
        )
    return tensors


def read_blob(path: Path) -> torch.Tensor:
    """The one blob of a .binaryproto, as float32; CheckpointError for a file that is none."""
    try:
        return _tensor(_content(path))
    except ValueError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: ValueError) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged or cut short",
        got=error,
        expected="a file as Caffe writes it",
        next_step="Unpack or fetch it again",
    )


def _content(path: Path) -> memoryview:
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise CheckpointError(f"size of {path}", got=f"{size:,} bytes", expected=f"at most {LARGEST:,}")
        return memoryview(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read", got=error, next_step="Check its permissions") from error


def _fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message, one after the other; ValueError where it ends too early or is none."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if wire == _BYTES:
            length, place = _varint(message, place)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {place} of a message")
        if number == 0 or place + length > len(message):
            raise ValueError(f"field {number} of {length:,} bytes where {len(message) - place:,} are left")
        yield number, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of variable length, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("end of the file within a number")
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
    raise ValueError(f"a number of more than 10 bytes before byte {place} of a message")


def _layer(message: memoryview, name_field: int, blob_field: int) -> tuple[str, list[memoryview]]:
    """Name and blobs of a layer; a name that is no UTF-8 is a ValueError, too."""
    name, blobs = "", []
    for number, value in _fields(message):
        if isinstance(value, int):
            continue
        if number == name_field:
            name = bytes(value).decode()
        elif number == blob_field:
            blobs.append(value)
    return name, blobs


def _tensor(blob: memoryview) -> torch.Tensor:
    legacy: dict[int, int] = {}
    shape: list[int] | None = None
    parts: list[memoryview] = []
    for number, value in _fields(blob):
        if number in _LEGACY_AXES and isinstance(value, int):
            legacy[number] = value
        elif number == _DATA and not isinstance(value, int):
            parts.append(value)
        elif number == _SHAPE and not isinstance(value, int):
            shape = _dimensions(value)
    sizes = shape if shape is not None else [legacy.get(axis, 1) for axis in _LEGACY_AXES]
    data = b"".join(parts)
    if not data or len(sizes) > 32 or 4 * math.prod(sizes) != len(data):
        raise ValueError(f"a blob of shape {sizes[:8]} with {len(data):,} bytes")
    # The numbers are little-endian on every machine.
    return torch.from_numpy(np.frombuffer(data, "<f4").astype(np.float32).reshape(sizes))


def _dimensions(message: memoryview) -> list[int]:
    """Sizes of the axes, packed or one by one."""
    sizes = []
    for number, value in _fields(message):
        if number != 1:
            continue
        if isinstance(value, int):
            sizes.append(value)
            continue
        place = 0
        while place < len(value):
            size, place = _varint(value, place)
            sizes.append(size)
    return sizes
