"""Point clouds as PLY files, which every viewer opens."""

from __future__ import annotations

import itertools
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

    Without red, green, blue (uchar) the points are gray; without a confidence they have confidence 1. Other
    properties and other elements are passed over.

    Raises:
        DataError: no such file, no PLY, damaged, without x y z, or with points that are not finite.
    """
    try:
        with path.open("rb") as file:
            header = _read_header(file, path)
            rows = header.read_ascii(file, path) if header.ascii else header.read_binary(file, path)
    except OSError as error:
        raise DataError(f"point cloud {path} cannot be read ({error.strerror})") from error
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
                elements.append((words[1], int(words[2]), []))
            elif words[:1] == ["property"]:
                kind = "list" if words[1] == "list" else TYPES[words[1]]
                elements[-1][2].append((words[-1], kind))
            elif line == b"" or words[:1] not in (["comment"], ["obj_info"], []):
                raise ValueError("no PLY header line" if line else "the file ends in its header")
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(f"header of {path} ({error})", got=repr(line[:80]), expected="a PLY 1.0 header") from error
    raise DataError(f"header of {path}", got=f"more than {MAX_HEADER_LINES} lines", expected="'end_header'")


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
        if number < 0:
            raise ValueError(f"{number} elements '{name}'")
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
    names = rows.dtype.names or ()
    with np.errstate(over="ignore"):
        points = np.stack([rows[axis] for axis in "xyz"], axis=1).astype(np.float32)
    wrong = int((~np.isfinite(points).all(axis=1)).sum())
    if wrong:
        raise DataError(f"points of {path} that are not finite", got=wrong, expected="0", next_step="Remove them first")
    colors = np.full((len(rows), 3), GRAY, np.uint8)
    for channel, name in enumerate(("red", "green", "blue")):
        if name in names and rows.dtype[name] == np.uint8:
            colors[:, channel] = rows[name]
    confidence = np.ones(len(rows), np.float32)
    if "confidence" in names:
        confidence = rows["confidence"].astype(np.float32)
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise DataError(
                f"confidence in {path}", got=(float(confidence.min()), float(confidence.max())), expected="0 .. 1"
            )
    return PointCloud(points, colors, confidence)
