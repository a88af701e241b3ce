"""One SQLite file of rosbag2, read in the order in which it was written, as far as it is whole."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

from spann3r_ros.recordings.storage_file import CDR, Channel, StorageError

MAGIC = b"SQLite format 3\x00"
MOST_HOLES = 1000
"""Rows in sequence that are tried behind one that cannot be read."""


class SqliteFile:
    """See ``StorageFile``.

    Raises:
        StorageError: no database of rosbag2, or one without a readable list of topics.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[int] = Counter()
        self.promised: Counter[int] = Counter()
        self.damage = ""
        self.start = self.end = 0
        with path.open("rb") as file:
            if file.read(16) != MAGIC:
                raise StorageError("no SQLite file, or its beginning is damaged")
        # A log beside the file holds its newest messages; without one, nothing must be written beside the file.
        log = path.with_name(path.name + "-wal")
        logged = log.is_file() and log.stat().st_size > 0
        try:
            self._base = sqlite3.connect(
                path.resolve().as_uri() + ("?mode=ro" if logged else "?mode=ro&immutable=1"),
                uri=True,
                check_same_thread=False,
            )
            self._base.execute("PRAGMA writable_schema = ON")  # which also opens a file that is too short
            kinds = self._base.execute("SELECT type FROM sqlite_master WHERE name IN ('topics', 'messages')").fetchall()
            if [kind for (kind,) in kinds] != ["table", "table"]:
                raise ValueError("no tables of rosbag2")
            rows = self._base.execute("SELECT id, name, type, serialization_format FROM topics").fetchall()
            for number, name, kind, encoding in rows:
                self.channels[int(number)] = Channel(str(name), str(kind), str(encoding or CDR))
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            if hasattr(self, "_base"):
                self._base.close()
            raise StorageError(f"list of topics: {error}") from error
        self._count()

    def close(self) -> None:
        """Give the file back."""
        self._base.close()

    def messages(
        self, wanted: Collection[int], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[int, int, bytes]]:
        """See ``StorageFile``."""
        clauses = [f"topic_id IN ({', '.join(str(int(number)) for number in wanted)})"]
        clauses += [f"timestamp >= {int(start)}"] if start is not None else []
        clauses += [f"timestamp < {int(stop)}"] if stop is not None else []
        for _, channel, time, data in self._rows("topic_id, timestamp, data", clauses):
            if isinstance(data, bytes) and isinstance(time, int):
                yield channel, time, data

    def _count(self) -> None:
        """Whole messages by topic, and the time that they span."""
        try:
            rows = self._base.execute(
                "SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages GROUP BY topic_id"
            )
            spans = [row for row in rows.fetchall() if row[0] in self.channels]
            # Where the file is too short, what is missing shows only when the data are read.
            size = self._base.execute("PRAGMA page_count").fetchone()[0]
            size *= self._base.execute("PRAGMA page_size").fetchone()[0]
            whole = self.path.stat().st_size >= size or self._has_log()
        except (sqlite3.Error, TypeError):
            spans, whole = [], False
        if whole:
            self.counts = Counter({number: count for number, count, _, _ in spans})
            times = [time for _, _, first, last in spans for time in (first, last) if isinstance(time, int)]
        else:
            self._damaged(f"cut off or damaged: {self.path.stat().st_size} bytes")
            times = []
            for channel, time, _ in self.messages(self.channels):
                self.counts[channel] += 1
                times.append(time)
        self.start, self.end = min(times, default=0), max(times, default=0)

    def _rows(self, columns: str, clauses: list[str]) -> Iterator[tuple[int, int, int, object]]:
        """Rows by their numbers, which are the order of recording; those that cannot be read are left out."""
        after, holes = -(2**63), 0
        while holes < MOST_HOLES:
            query = f"SELECT id, {columns} FROM messages WHERE id > {after} AND {' AND '.join(clauses)} ORDER BY id"
            try:
                with closing(self._base.execute(query)) as rows:
                    for row in rows:
                        after, holes = int(row[0]), 0
                        yield row
                return
            except sqlite3.Error as error:
                self._damaged(f"cut off or damaged behind message {after}: {error}")
                after, holes = max(after, 0) + 1, holes + 1

    def _has_log(self) -> bool:
        return self.path.with_name(self.path.name + "-wal").is_file()

    def _damaged(self, reason: str) -> None:
        self.damage = self.damage or reason
