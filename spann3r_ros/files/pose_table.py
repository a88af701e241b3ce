"""Lines of a trajectory file as words in TUM's order, whoever wrote them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spann3r_ros.errors import DataError
from spann3r_ros.files.text import read_text

TUM_COLUMNS, KITTI_COLUMNS, EUROC_COLUMNS = 8, 12, 17
MOST_LINE = 10_000
"""Characters of a line."""

UNITS = {"s": 10**9, "sec": 10**9, "ms": 10**6, "us": 10**3, "ns": 1, "nsec": 1}
"""Nanoseconds of the units that a header may name."""

NAMES = {
    "stamp": r"t|time|times|stamp|timestamps?|timestamp_?n?s|time_?stamp|(field\.)?header\.stamp",
    "tx": r"(t|p|pos|position)_?x|x|p_rs_r_x|(.*\.)?position\.x",
    "ty": r"(t|p|pos|position)_?y|y|p_rs_r_y|(.*\.)?position\.y",
    "tz": r"(t|p|pos|position)_?z|z|p_rs_r_z|(.*\.)?position\.z",
    "qx": r"q(uat)?_?x|q_rs_x|(.*\.)?orientation\.x",
    "qy": r"q(uat)?_?y|q_rs_y|(.*\.)?orientation\.y",
    "qz": r"q(uat)?_?z|q_rs_z|(.*\.)?orientation\.z",
    "qw": r"q(uat)?_?w|q_rs_w|(.*\.)?orientation\.w",
}
"""What tools call the columns, in TUM's order."""


@dataclass(frozen=True)
class PoseRow:
    """One line.

    Attributes:
        number: of the line, from 1.
        stamp: its text.
        pose: words of position and quaternion (x y z w), or of KITTI's matrix.
    """

    number: int
    stamp: str
    pose: list[str]


@dataclass(frozen=True)
class PoseTable:
    """All lines.

    Attributes:
        rows: in the order of the file.
        unit: nanoseconds of a stamp's unit when the header names it, else None.
        is_kitti: whether poses are twelve numbers of a matrix.
    """

    rows: list[PoseRow]
    unit: int | None = None
    is_kitti: bool = False


def read_table(path: Path) -> PoseTable:
    """Lines of a file; raises DataError for no such file, no text, or a line of another form than the first ones."""
    order: list[int] | None = None
    unit = None
    lines: list[tuple[int, list[str]]] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if len(line) > MOST_LINE:
            raise DataError(f"line {number} of {path}", got=f"{len(line)} characters", expected="a pose")
        words = _words(line)
        if not words:
            continue
        is_comment = line.lstrip().startswith(("#", "%", "//"))
        if not lines and (is_comment or not _is_number(words[0])):
            header, named = _header(line)
            if header is None and not is_comment:
                raise _refused(path, number, line, "the file begins with words that name no columns of a pose")
            order, unit = header or order, named or unit
            continue
        if not is_comment:
            lines.append((number, words))
    if not lines:
        return PoseTable([], unit)
    columns = len(lines[0][1])
    odd = next((entry for entry in lines if len(entry[1]) != columns), None)
    if odd is not None:
        raise _refused(path, odd[0], " ".join(odd[1]), f"{len(odd[1])} columns, where the first has {columns}")
    if columns == KITTI_COLUMNS and order is None:
        return _kitti(path, lines)
    if order is None and columns == EUROC_COLUMNS:
        order = [0, 1, 2, 3, 5, 6, 7, 4]
        unit = unit or 1
    order = order or list(range(TUM_COLUMNS))
    if max(order) >= columns or (columns != TUM_COLUMNS and order == list(range(TUM_COLUMNS))):
        raise _refused(path, lines[0][0], " ".join(lines[0][1]), f"{columns} columns")
    return PoseTable(
        [PoseRow(number, words[order[0]], [words[place] for place in order[1:]]) for number, words in lines], unit
    )


def nanoseconds_per_unit(stamps: list[float], whole: bool) -> int:
    """Which unit stamps without one have, by their size: seconds since 1970 have 10 digits, nanoseconds 19.

    Args:
        stamps: numbers.
        whole: whether all are integers. Then steps that would be weeks between frames tell a clock that began at zero.
    """
    largest = max((abs(stamp) for stamp in stamps), default=0.0)
    limits = {10**9: 1e11, 10**6: 1e14, 10**3: 1e17}
    unit = next((unit for unit, limit in limits.items() if largest < limit), 1)
    if unit == 10**9 and whole and len(stamps) > 1:
        step = float(np.median(np.abs(np.diff(stamps))))
        unit = 1 if step >= 1e6 else 10**3 if step >= 1e4 else unit
    return unit


def _kitti(path: Path, lines: list[tuple[int, list[str]]]) -> PoseTable:
    """KITTI's poses, which have no stamps, with those of ``times.txt`` beside them."""
    times = path.parent / "times.txt"
    hint = "Put the stamps of the lines, in seconds, into times.txt beside it, as KITTI does"
    if not times.is_file():
        raise DataError(
            f"line {lines[0][0]} of {path}",
            got="12 numbers: KITTI's matrix, without a stamp",
            expected="stamp tx ty tz qx qy qz qw",
            next_step=hint,
        )
    stamps = [words[0] for line in read_text(times).split("\n") if (words := _words(line))]
    if len(stamps) != len(lines):
        raise DataError(
            f"stamps in {times}", got=len(stamps), expected=f"{len(lines)}, as many as poses", next_step=hint
        )
    rows = [PoseRow(number, stamp, words) for (number, words), stamp in zip(lines, stamps, strict=True)]
    return PoseTable(rows, None, is_kitti=True)


def _header(line: str) -> tuple[list[int] | None, int | None]:
    """Places of the columns in TUM's order and the stamps' unit, as far as a header tells them."""
    text = line.lower().lstrip("#%/ \t")
    unit = re.search(r"\[(\w+)\]", text)
    words = _words(re.sub(r"\[[^\]]*\]", " ", text))
    places: list[int] = []
    for pattern in NAMES.values():
        found = [place for place, word in enumerate(words) if re.fullmatch(pattern, word)]
        if not found:
            break
        places.append(found[0])
    whole = len(places) == len(NAMES) and len(set(places)) == len(NAMES)
    named = UNITS.get(unit[1]) if unit and whole else None
    return (places if whole else None), named


def _words(line: str) -> list[str]:
    return line.replace(",", " ").replace(";", " ").split()


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _refused(path: Path, number: int, line: str, reason: str) -> DataError:
    return DataError(
        f"line {number} of {path} ({reason})",
        got=repr(line[:120]),
        expected="stamp tx ty tz qx qy qz qw",
        next_step="Remove other lines, or let a first line name the columns: # timestamp tx ty tz qx qy qz qw",
    )
