"""One MCAP file (https://mcap.dev/spec), read in the order in which it was written, as far as it is whole.

A recorder that loses power leaves a file without an end: neither index nor statistics, and the last record torn. So
the records are walked from the beginning, and of what is torn the whole messages are taken.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from spann3r_ros.recordings.compression import CompressionError, checksum_is_right, unpack
from spann3r_ros.recordings.storage_file import CDR, ROS1, Channel, StorageError

MAGIC = b"\x89MCAP0\r\n"
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX, STATISTICS, DATA_END = 2, 3, 4, 5, 6, 7, 8, 11, 15
LAST_OPCODE = 15
MOST_RECORD = 1 << 30
"""Bytes of a record outside of chunks; a message is far smaller."""


@dataclass(frozen=True)
class _Place:
    """A chunk, or a message outside of chunks.

    Attributes:
        offset, size: of the record's content.
        first, last: nanoseconds when its messages were recorded.
        channels: with messages in it.
    """

    opcode: int
    offset: int
    size: int
    first: int
    last: int
    channels: frozenset[int]


class McapFile:
    """See ``StorageFile``.

    Raises:
        StorageError: no MCAP file at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[int] = Counter()
        self.promised: Counter[int] = Counter()
        self.damage = ""
        self.start = self.end = 0
        self._schemas: dict[int, tuple[str, str]] = {}
        self._places: list[_Place] = []
        self._chunk_offsets: list[int] = []
        self._file = path.open("rb")
        try:
            self._size = path.stat().st_size
            if self._file.read(8) != MAGIC:
                raise StorageError("no MCAP file, or its beginning is damaged")
            self._read_summary()
            self._walk()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def messages(
        self, wanted: Collection[int], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[int, int, bytes]]:
        """See ``StorageFile``."""
        for place in self._places:
            if not place.channels.intersection(wanted):
                continue
            if (start is not None and place.last < start) or (stop is not None and place.first >= stop):
                continue
            for opcode, record in self._records_at(place):
                if opcode != MESSAGE:
                    continue
                channel, time = _message_head(record)
                if channel in wanted and (start is None or time >= start) and (stop is None or time < stop):
                    yield channel, time, record[22:]

    def _walk(self) -> None:
        """Find every chunk and every message outside of chunks; of those without an index, count the messages."""
        offset = len(MAGIC)
        while True:
            self._file.seek(offset)
            head = self._file.read(9)
            opcode, size = (head[0], struct.unpack_from("<Q", head, 1)[0]) if len(head) == 9 else (0, 0)
            if opcode in (DATA_END, FOOTER):
                return
            whole = opcode >= 1 and offset + 9 + size <= self._size and (opcode <= LAST_OPCODE or opcode >= 0x80)
            if not whole:
                self._damaged(f"cut off or damaged at byte {offset} of {self._size}")
                if opcode == CHUNK:
                    self._add_chunk(offset + 9, self._size - offset - 9)
                offset = next((begin for begin in self._chunk_offsets if begin > offset), self._size)
                if offset >= self._size:
                    return
                continue
            self._take(opcode, offset + 9, size)
            offset += 9 + size

    def _take(self, opcode: int, offset: int, size: int) -> None:
        """One whole record of the data section."""
        if opcode == CHUNK:
            self._add_chunk(offset, size)
        elif opcode == MESSAGE and size >= 22:
            channel, time = _message_head(self._file.read(22))
            self._add(_Place(opcode, offset, size, time, time, frozenset([channel])), Counter([channel]))
        elif opcode in (SCHEMA, CHANNEL) and size < MOST_RECORD:
            self._define(opcode, self._file.read(size))

    def _add_chunk(self, offset: int, size: int) -> None:
        """A chunk, whole or torn: its channels, counts and times."""
        self._file.seek(offset)
        head = self._file.read(16)
        if len(head) < 16:
            return
        first, last = struct.unpack("<QQ", head)
        place = _Place(CHUNK, offset, size, first, last, frozenset())
        counts = self._indexed(offset + size)
        if not counts or not counts.keys() <= self.channels.keys():
            counts = Counter()
            for opcode, record in self._records_at(place):
                if opcode == MESSAGE:
                    counts[_message_head(record)[0]] += 1
                else:
                    self._define(opcode, record)
        self._add(_Place(CHUNK, offset, size, first, last, frozenset(counts)), counts)

    def _indexed(self, offset: int) -> Counter[int]:
        """Messages by channel as the index records behind a chunk say; empty without them."""
        counts: Counter[int] = Counter()
        while True:
            self._file.seek(offset)
            head = self._file.read(11)
            if len(head) < 11 or head[0] != MESSAGE_INDEX:
                return counts
            size, channel = struct.unpack_from("<QH", head, 1)
            if offset + 9 + size > self._size:
                return Counter()
            counts[channel] += (size - 6) // 16
            offset += 9 + size

    def _add(self, place: _Place, counts: Counter[int]) -> None:
        known = Counter({channel: count for channel, count in counts.items() if channel in self.channels})
        if not known:
            return
        self.start = min(self.start, place.first) if self._places else place.first
        self.end = max(self.end, place.last)
        self._places.append(place)
        self.counts += known

    def _records_at(self, place: _Place) -> Iterator[tuple[int, bytes]]:
        """The whole records of a place with their opcodes."""
        self._file.seek(place.offset)
        if place.opcode == MESSAGE:
            yield MESSAGE, self._file.read(place.size)
            return
        content = self._chunk(self._file.read(place.size), place.offset)
        offset = 0
        while offset + 9 <= len(content):
            opcode, (size,) = content[offset], struct.unpack_from("<Q", content, offset + 1)
            if offset + 9 + size > len(content):
                break
            if opcode != MESSAGE or size >= 22:
                yield opcode, content[offset + 9 : offset + 9 + size]
            offset += 9 + size

    def _chunk(self, record: bytes, offset: int) -> bytes:
        """A chunk's content; nothing of one whose checksum is wrong, which would be damaged images."""
        try:
            _, _, size, crc, length = struct.unpack_from("<QQQII", record)
            kind = record[32 : 32 + length].decode()
            (packed,) = struct.unpack_from("<Q", record, 32 + length)
            data = record[40 + length : 40 + length + packed]
            content = unpack(kind, data, size)
        except (struct.error, UnicodeDecodeError, CompressionError) as error:
            self._damaged(f"chunk at byte {offset}: {error}")
            return b""
        if len(content) < size:
            self._damaged(f"chunk at byte {offset} is cut off or damaged")
        elif not checksum_is_right(content, crc):
            self._damaged(f"chunk at byte {offset} has a wrong checksum")
            return b""
        return content

    def _read_summary(self) -> None:
        """Channels, counts and places of chunks from the end of a file that has one."""
        if self._size < len(MAGIC) + 37:
            return
        self._file.seek(self._size - 37)
        end = self._file.read(37)
        if end[29:] != MAGIC or end[0] != FOOTER:
            return
        (begin,) = struct.unpack_from("<Q", end, 9)
        if not len(MAGIC) <= begin < self._size - 37 or self._size - begin > MOST_RECORD:
            return
        self._file.seek(begin)
        content = self._file.read(self._size - 37 - begin)
        offset = 0
        while offset + 9 <= len(content):
            opcode, (size,) = content[offset], struct.unpack_from("<Q", content, offset + 1)
            record = content[offset + 9 : offset + 9 + size]
            offset += 9 + size
            if opcode in (SCHEMA, CHANNEL):
                self._define(opcode, record)
            elif opcode == CHUNK_INDEX and len(record) >= 24:
                self._chunk_offsets.append(struct.unpack_from("<Q", record, 16)[0])
            elif opcode == STATISTICS and len(record) >= 46:
                pairs = record[46 : 46 + struct.unpack_from("<I", record, 42)[0]]
                self.promised = Counter(dict(struct.iter_unpack("<HQ", pairs[: len(pairs) // 10 * 10])))
        self._chunk_offsets.sort()

    def _define(self, opcode: int, record: bytes) -> None:
        """A schema or a channel; what cannot be understood is as if it was not there."""
        try:
            (number,) = struct.unpack_from("<H", record)
            if opcode == SCHEMA:
                name, offset = _text(record, 2)
                _, offset = _text(record, offset)
                self._schemas[number] = name, _text(record, offset, errors="replace")[0]
            elif opcode == CHANNEL and number not in self.channels:
                topic, offset = _text(record, 4)
                encoding, _ = _text(record, offset)
                name, definition = self._schemas.get(struct.unpack_from("<H", record, 2)[0], ("", ""))
                if encoding in (CDR, ROS1) and "/" in name and "/msg/" not in name:
                    name = name.replace("/", "/msg/", 1)  # as ROS 1 names its types
                self.channels[number] = Channel(topic, name, encoding, definition)
        except (struct.error, UnicodeDecodeError) as error:
            self._damaged(f"a record that describes a topic: {error}")

    def _damaged(self, reason: str) -> None:
        self.damage = self.damage or reason


def _message_head(record: bytes) -> tuple[int, int]:
    """Number of the channel and nanoseconds of recording."""
    channel, _, time = struct.unpack_from("<HIQ", record)
    return channel, time


def _text(record: bytes, offset: int, errors: str = "strict") -> tuple[str, int]:
    """A string with its length before it, and the place behind it."""
    (length,) = struct.unpack_from("<I", record, offset)
    begin = offset + 4
    if begin + length > len(record):
        raise struct.error("a text that is longer than its record")
    return record[begin : begin + length].decode(errors=errors), begin + length
