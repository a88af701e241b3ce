"""Unpacking what recorders compressed, as far as it goes, and never more than is plausible."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAUSIBLE_SIZE = 128 << 20
PLAUSIBLE_RATIO = 200
"""What grows beyond both is no recording."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PIECE = 1 << 20


class CompressionError(Exception):
    """Data that cannot be unpacked, or that would grow without bounds."""


def most(packed: int) -> int:
    """Bytes to which ``packed`` bytes may grow."""
    return max(PLAUSIBLE_SIZE, PLAUSIBLE_RATIO * packed)


def unpack(kind: str, data: bytes, size: int | None = None) -> bytes:
    """What can be unpacked; less than ``size`` when the data are cut off or damaged.

    Args:
        kind: ``zstd``, ``lz4``, or empty when nothing was compressed.
        data: the bytes.
        size: bytes that come out, where known.

    Raises:
        CompressionError: another kind, or more bytes than is plausible.
    """
    if kind == "":
        return data
    limit = most(len(data))
    if size is not None and size > limit:
        raise CompressionError(f"{len(data)} bytes claim to unpack to {size}")
    try:
        decompressor: Any = {"zstd": zstd.ZstdDecompressor, "lz4": lz4.frame.LZ4FrameDecompressor}[kind]()
    except KeyError:
        raise CompressionError(f"compression '{kind}' is not known") from None
    found = bytearray()
    try:
        # In pieces, so that what comes before a damaged one is not lost with it.
        for begin in range(0, len(data), PIECE):
            piece = data[begin : begin + PIECE]
            while (piece or not decompressor.needs_input) and not decompressor.eof and len(found) <= limit:
                found += decompressor.decompress(piece, PIECE)
                piece = b""
    except (RuntimeError, ValueError, EOFError, zstd.ZstdError):
        pass  # less than ``size`` tells
    if len(found) > limit:
        raise CompressionError(f"{len(data)} bytes unpack to more than {limit}")
    return bytes(found)


def unpack_file(source: Path, target: Path) -> bool:
    """Unpack a zstd file; whether it was whole. What came before a damage is in the target.

    Raises:
        CompressionError: more bytes than is plausible.
    """
    limit, written = most(source.stat().st_size), 0
    try:
        with zstd.open(source, "rb") as packed, target.open("wb") as file:
            while piece := packed.read(PIECE):
                written += file.write(piece)
                if written > limit:
                    raise CompressionError(f"{source.stat().st_size} bytes unpack to more than {limit}")
    except (zstd.ZstdError, EOFError):
        return False
    return True


def checksum_is_right(data: bytes, crc: int) -> bool:
    """Whether a CRC-32 fits; 0 means that none was written."""
    return crc == 0 or zlib.crc32(data) == crc
