"""The order in which messages were recorded, where the clock of the recorder was set back meanwhile.

The rosbags library gives messages in the order of their times. That puts the second half of such a recording before, or
into, the first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rosbags.rosbag2 import Reader
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

from spann3r_ros.stamp_order import BACK


def keep_recorded_order(reader: Reader) -> bool:
    """Let an open reader give messages as they were recorded where its clock was set back; whether it was."""
    storage: Any = reader.storage
    found = False
    for each in storage.storages if isinstance(storage, DirectoryReader) else [storage]:
        if isinstance(each, McapReader) and _may_be_set_back(each) and _is_set_back(_mcap_times(each)):
            each.messages = each.messages_scan  # type: ignore[method-assign]
            found = True
        if isinstance(each, Sqlite3Reader) and _is_set_back(_sqlite_times(each)):
            each.messages = _by_number(each)  # type: ignore[method-assign]
            found = True
    return found


def _is_set_back(times: Iterable[tuple[Any, int]]) -> bool:
    """Whether the times of a topic jump back; topics may be written one after the other."""
    latest: dict[Any, int] = {}
    for topic, time in times:
        if time < latest.get(topic, time) - BACK:
            return True
        latest[topic] = max(time, latest.get(topic, time))
    return False


def _may_be_set_back(storage: McapReader) -> bool:
    """What the index tells without reading the messages: later chunks that begin before earlier ones end."""
    chunks = sorted(storage.chunks, key=lambda chunk: chunk.chunk_start_offset)
    ends = [chunk.message_end_time for chunk in chunks]
    return len(chunks) < 2 or any(
        chunk.message_start_time < end - BACK for chunk, end in zip(chunks[1:], ends, strict=False)
    )


def _mcap_times(storage: McapReader) -> Iterator[tuple[Any, int]]:
    return ((connection.id, time) for connection, time, _ in storage.messages_scan(storage.connections))


def _sqlite_times(storage: Sqlite3Reader) -> Iterable[tuple[Any, int]]:
    rows: Iterable[tuple[Any, int]] = storage.dbconn.execute("SELECT topic_id, timestamp FROM messages ORDER BY id")  # type: ignore[union-attr,assignment]
    return rows


def _by_number(storage: Sqlite3Reader) -> Any:
    """As ``Sqlite3Reader.messages``, in the order of recording."""

    def messages(
        connections: Iterable[Any], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Any, int, bytes]]:
        wanted = {connection.id: connection for connection in connections}
        query = "SELECT topic_id, timestamp, data FROM messages ORDER BY id"
        for topic, time, data in storage.dbconn.execute(query):  # type: ignore[union-attr]
            if topic in wanted and (start is None or time >= start) and (stop is None or time < stop):
                yield wanted[topic], time, data

    return messages
