"""What a JPEG's own headers and code tables tell about damage (ITU-T T.81), which decoders do not look at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_SCANS = 100
"""Scans of a JPEG; encoders make about ten, and each costs as much as decoding the picture once."""

ZERO_BYTES = 16
"""Zero bytes in a row that only the code "nothing more in this block" makes; else they were 40 equal coefficients."""

LEAST_BAND = 32
"""Coefficients of a block that a scan must hold for that to be impossible; a few may repeat in regular patterns."""

_END, _SCAN, _TABLES = 0xD9, 0xDA, 0xC4
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
_STANDALONE = (0x01, 0xD8)
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # stuffed bytes, restarts and fill bytes belong to a scan

Table = tuple[int, int]
"""(class, number) of a Huffman table: class 0 codes DC, class 1 AC coefficients."""


@dataclass
class _Headers:
    """What the segments so far have told.

    Attributes:
        lowest: of each component, the bit down to which each of its 64 coefficients has come; 1 before any scan.
        blocks: of each component in one unit of an interleaved scan.
        is_huffman: whether the frame is of a kind whose scans are Huffman codes.
        all_zero: of each table, (length, symbol) of the code whose bits are all 0.
        scans: so far.
    """

    lowest: dict[int, list[int]] = field(default_factory=dict)
    blocks: dict[int, int] = field(default_factory=dict)
    is_huffman: bool = False
    all_zero: dict[Table, tuple[int, int]] = field(default_factory=dict)
    scans: int = 0

    def begin_frame(self, marker: int, segment: bytes) -> None:
        """Take a frame header (B.2.2)."""
        self.is_huffman = marker in _HUFFMAN_FRAMES
        self.lowest = {component: [1] * 64 for component in segment[6::3]}
        self.blocks = {
            component: (size >> 4) * (size & 15) for component, size in zip(segment[6::3], segment[7::3], strict=False)
        }

    def define_tables(self, segment: bytes) -> None:
        """Take Huffman tables (B.2.4.2). Codes go up from the shortest one, whose bits are all 0 (C.2)."""
        while len(segment) > 17:
            counts = segment[1:17]
            length = next((bits for bits, count in enumerate(counts, 1) if count), 16)
            self.all_zero[segment[0] >> 4, segment[0] & 15] = (length, segment[17])
            segment = segment[17 + sum(counts) :]

    def begin_scan(self, segment: bytes) -> int | None:
        """Take a scan header (B.2.3): the most zero bytes that its codes can make in a row, None for any number."""
        self.scans += 1
        count = segment[0]
        chosen = list(zip(segment[1 : 1 + 2 * count : 2], segment[2 : 2 + 2 * count : 2], strict=True))
        first, last, bits = segment[1 + 2 * count], segment[2 + 2 * count], segment[3 + 2 * count]
        for component, _ in chosen:
            self.lowest[component][first : last + 1] = [bits & 15] * (last + 1 - first)
        if not self.is_huffman or bits >> 4 or last + 1 - first < LEAST_BAND:
            return None  # a refinement has bits without codes; a narrow band may repeat itself
        empty = 0
        fills = False
        for component, tables in chosen:
            dc, ac = self.all_zero.get((0, tables >> 4)), self.all_zero.get((1, tables & 15))
            if ac is None or (first == 0 and dc is None):
                return None  # the tables of the standard are meant, and seldom
            if ac[1] & 15 or ac[1] == 0xF0:
                fills = True  # all-zero bits are coefficients here, one after the other
            else:
                empty += self.blocks[component] * (ac[0] + (sum(dc) if dc and first == 0 else 0))
        return ZERO_BYTES + empty // 8 if fills else None


def damage(content: bytes) -> str:
    """What is wrong with the scans of a JPEG, in words; empty when nothing is seen.

    A scan may be missing: a progressive JPEG cut between two scans decodes to a blur. Of each component, every
    coefficient must have come down to its last bit (G.1.1.1). And a part of a scan may have been filled with zeros: in
    most pictures zero bits are coefficients of -1, and nothing makes a row of them.

    Args:
        content: the whole file, from its first marker to an end marker.

    Raises:
        LookupError, ValueError: headers that contradict each other.
    """
    headers = _Headers()
    holes = False
    for marker, segment, place in _segments(content):
        if marker == _TABLES:
            headers.define_tables(segment)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC8, 0xCC):
            headers.begin_frame(marker, segment)
        elif marker == _SCAN:
            most = headers.begin_scan(segment)
            if most is not None:
                hole = content.find(bytes(most + 1), place)
                holes |= hole >= 0 and _NEXT_MARKER.search(content, place, hole) is None
    if headers.scans > MOST_SCANS:
        return f"JPEG of {headers.scans} scans"
    if not headers.lowest or any(map(any, headers.lowest.values())):
        return f"JPEG of which scans are missing after the first {headers.scans}"
    return "JPEG with a hole of zero bytes" if holes else ""


def _segments(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    """(marker, content of its segment, place behind it) up to the end marker."""
    place = 2
    while (found := _NEXT_MARKER.search(content, place)) is not None:
        marker, place = content[found.end() - 1], found.end()
        if marker == _END:
            return
        if marker in _STANDALONE:
            continue
        segment = content[place + 2 : place + int.from_bytes(content[place : place + 2], "big")]
        place += 2 + len(segment)
        yield marker, segment, place
