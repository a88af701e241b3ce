"""Point clouds as PLY files, which every viewer opens."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.files.atomic import replacing_file
from spann3r_ros.point_cloud import PointCloud

POINT = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("confidence", "<f4")]
)
"""A point as it is written."""

NAMES = {"f4": "float", "u1": "uchar"}
TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
MAX_HEADER_LINES = 1000
GRAY = 128
COLOR_NAMES = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
CONFIDENCE_NAMES = ("confidence", "scalar_confidence", "scalar_Confidence")

_log = logging.getLogger(__name__)


def write_ply(path: Path, cloud: PointCloud, comments: Sequence[str] = ()) -> None:
    """Write a cloud as binary little-endian PLY with x y z red green blue confidence; the file appears complete.

    Args:
        path: the file; an old one is replaced.
        cloud: what to write.
        comments: single lines for the header, such as the frame and unit of the points.
    """
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {line}" for comment in comments for line in comment.splitlines()]
    header += [f"element vertex {len(cloud)}"]
    header += [f"property {NAMES[POINT[name].str[1:]]} {name}" for name in POINT.names or ()]
    header += ["end_header", ""]
    rows = np.empty(len(cloud), POINT)
    for axis, name in enumerate("xyz"):
        rows[name] = cloud.points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        rows[name] = cloud.colors[:, channel]
    rows["confidence"] = cloud.confidence
    with replacing_file(path) as draft, draft.open("wb") as file:
        file.write("\n".join(header).encode())
        file.write(rows.tobytes())


def read_ply(path: Path) -> PointCloud:
    """Read a cloud: what ``write_ply`` wrote, bit for bit, or any PLY whose vertices have x, y, z.

    Colors may be called red, green, blue, r, g, b or diffuse_red ..., as bytes, 16-bit numbers or floats from 0 to 1;
    without them the points are gray. Confidences may be called confidence or scalar_confidence; without them, or where
    one is beyond 0 .. 1 and hence of another measure, all are 1. Points that are not finite are left out. What of that
    acted is logged. Other properties and other elements are passed over.

    Raises:
        DataError: no such file, no PLY, damaged, without x y z, or without any finite point.
    """
    try:
        with path.open("rb") as file:
            header = _read_header(file, path)
            rows = header.read_ascii(file, path) if header.ascii else header.read_binary(file, path)
    except (OSError, RuntimeError) as error:
        raise DataError(f"point cloud {path} cannot be read ({error})") from error
    return _cloud(rows, path)


@dataclass
class _Header:
    """What a PLY header says about the vertices."""

    byte_order: str
    vertices: int
    row: np.dtype[np.void]
    bytes_before: int
    lines_before: int

    @property
    def ascii(self) -> bool:
        return self.byte_order == "="

    def read_binary(self, file: IO[bytes], path: Path) -> NDArray[np.void]:
        file.seek(self.bytes_before, 1)
        available = (path.stat().st_size - file.tell()) // self.row.itemsize
        if available < self.vertices:
            raise DataError(
                f"{path} ends too early",
                got=f"{max(0, available)} points",
                expected=f"{self.vertices} as its header says",
                next_step="The file is damaged or was not written to its end",
            )
        return np.frombuffer(file.read(self.vertices * self.row.itemsize), self.row)

    def read_ascii(self, file: IO[bytes], path: Path) -> NDArray[np.void]:
        columns = len(self.row.names or ())
        lines = itertools.islice(file, self.lines_before, self.lines_before + self.vertices)
        rows = [tuple(line.split()) for line in lines]
        wrong = next((number for number, row in enumerate(rows) if len(row) != columns), len(rows))
        try:
            if wrong < self.vertices:
                raise ValueError(f"vertex {wrong} is missing or has another number of values")
            return np.array(rows, dtype=self.row)
        except (ValueError, OverflowError) as error:
            raise DataError(
                f"vertices of {path} ({error})", expected=f"{self.vertices} lines of {columns} numbers"
            ) from error


def _read_header(file: IO[bytes], path: Path) -> _Header:
    if file.readline(16).strip() != b"ply":
        raise DataError(f"{path} is no PLY file", got="another beginning", expected="the line 'ply'")
    order = ""
    elements: list[tuple[str, int, list[tuple[str, str]]]] = []
    for _ in range(MAX_HEADER_LINES):
        line = file.readline(4096)
        try:
            words = line.decode("ascii", errors="replace").split()
            if words[:1] == ["end_header"]:
                return _vertex_layout(order, elements)
            if words[:1] == ["format"]:
                order = BYTE_ORDERS[words[1]]
            elif words[:1] == ["element"]:
                elements.append((words[1], _count(words[2]), []))
            elif words[:1] == ["property"]:
                kind = "list" if words[1] == "list" else TYPES[words[1]]
                elements[-1][2].append((words[-1], kind))
            elif line == b"" or words[:1] not in (["comment"], ["obj_info"], []):
                raise ValueError("no PLY header line" if line else "the file ends in its header")
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(f"header of {path} ({error})", got=repr(line[:80]), expected="a PLY 1.0 header") from error
    raise DataError(f"header of {path}", got=f"more than {MAX_HEADER_LINES} lines", expected="'end_header'")


def _count(word: str) -> int:
    """Number of elements; raises ValueError for one that no file can hold."""
    if not (word.isascii() and word.isdigit() and len(word) <= 15):
        raise ValueError(f"{word[:20]} elements")
    return int(word)


def _vertex_layout(order: str, elements: list[tuple[str, int, list[tuple[str, str]]]]) -> _Header:
    """Raises ValueError for what cannot be read."""
    if not order:
        raise ValueError("no format line")
    bytes_before = lines_before = 0
    for name, number, properties in elements:
        has_list = any(kind == "list" for _, kind in properties)
        if name != "vertex" and has_list and order != "=":
            raise ValueError(f"a list in element '{name}' before the vertices")
        if name == "vertex" and has_list:
            raise ValueError("a list among the properties of a vertex")
        row = np.dtype([(label, order + kind) for label, kind in properties if kind != "list"])
        if name == "vertex":
            missing = [axis for axis in "xyz" if axis not in (row.names or ())]
            if missing:
                raise ValueError("vertices without " + ", ".join(missing))
            return _Header(order, number, row, bytes_before, lines_before)
        bytes_before += number * row.itemsize
        lines_before += number
    raise ValueError("no element 'vertex'")


def _cloud(rows: NDArray[np.void], path: Path) -> PointCloud:
    with np.errstate(over="ignore", invalid="ignore"):
        points = np.stack([rows[axis] for axis in "xyz"], axis=1).astype(np.float32)
    known = np.asarray(np.isfinite(points).all(axis=1))
    if not known.all():
        if not known.any():
            raise DataError(f"points of {path} that are not finite", got=len(points), expected="at least one that is")
        _log.warning("%s: %d of %d points are not finite and are left out", path, (~known).sum(), len(rows))
        points, rows = points[known], rows[known]
    return PointCloud(points, _colors(rows, path), _confidence(rows, path))


def _colors(rows: NDArray[np.void], path: Path) -> NDArray[np.uint8]:
    """(N, 3) RGB, gray where the file has none."""
    names = {name.lower(): name for name in rows.dtype.names or ()}
    for triple in COLOR_NAMES:
        if not all(name in names for name in triple):
            continue
        values = np.stack([rows[names[name]].astype(np.float64) for name in triple], axis=1)
        kinds = {rows.dtype[names[name]].newbyteorder("=") for name in triple}
        if kinds == {np.dtype(np.uint16)} and len(values) and values.max() > 255:
            values /= 257.0
        elif all(kind.kind == "f" for kind in kinds):
            values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
            if len(values) and values.max() <= 1.0:
                values *= 255.0
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)
    _log.info("%s has no colors: its points are gray", path)
    return np.full((len(rows), 3), GRAY, np.uint8)


def _confidence(rows: NDArray[np.void], path: Path) -> NDArray[np.float32]:
    """(N,) in 0 .. 1, 1 where the file has none or another measure."""
    names = rows.dtype.names or ()
    name = next((name for name in CONFIDENCE_NAMES if name in names), None)
    if name is None:
        return np.ones(len(rows), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        confidence: NDArray[np.float32] = rows[name].astype(np.float32)
    unknown = np.isnan(confidence)
    if unknown.any():
        _log.warning("%s: %d of %d confidences are NaN and count as 0", path, unknown.sum(), len(unknown))
        confidence = np.where(unknown, np.float32(0), confidence)
    if not ((confidence >= 0) & (confidence <= 1)).all():
        _log.warning(
            "%s: confidences from %g to %g are of another measure than 0 .. 1: all count as 1",
            path,
            confidence.min(),
            confidence.max(),
        )
        return np.ones(len(rows), np.float32)
    return confidence
