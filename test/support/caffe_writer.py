"""Caffe's files, written field by field as Caffe serializes them: networks of both kinds of layers, and mean images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Blobs = Sequence[NDArray[np.float32]]

V1_TYPES = {4: 4, 2: 14}
"""Kind of an old layer by the axes of its weights: a convolution, an inner product."""


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    """A field of variable length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def blob(array: NDArray[np.float32], legacy: bool = True) -> bytes:
    """A blob; an old one has four axes, those that an array lacks in front."""
    data = field(5, array.astype("<f4").tobytes())
    if not legacy:
        return data + field(7, field(1, b"".join(map(varint, array.shape))))
    axes = (1,) * (4 - array.ndim) + array.shape
    return b"".join(number_field(n, size) for n, size in enumerate(axes, start=1)) + data


def network(layers: Mapping[str, Blobs], legacy: bool = True, name: str = "PoseNet") -> bytes:
    """A .caffemodel: layers with blobs, and a layer of data and one without weights around them."""
    written = field(1, name.encode()) if name else b""
    kinds = {"data": (), **layers, "loss": ()}
    for title, blobs in kinds.items():
        inner = b"".join(field(6 if legacy else 7, blob(array, legacy)) for array in blobs)
        if legacy:
            kind = V1_TYPES[blobs[0].ndim] if blobs else 5
            # V1LayerParameter: bottom, top, name, type, blobs, and the learning rates that Caffe keeps with them.
            rates = b"".join(varint(7 << 3 | 5) + np.float32(rate).tobytes() for rate in (1.0, 2.0)[: len(blobs)])
            layer = field(2, b"x") + field(3, title.encode()) + field(4, title.encode())
            written += field(2, layer + number_field(5, kind) + inner + rates)
        else:
            kind_name = b"Convolution" if blobs and blobs[0].ndim == 4 else b"InnerProduct" if blobs else b"Input"
            layer = field(1, title.encode()) + field(2, kind_name) + field(3, b"x") + field(4, title.encode())
            written += field(100, layer + inner + number_field(10, 0))
    return written
