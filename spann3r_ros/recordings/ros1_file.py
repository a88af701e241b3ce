"""One bag of ROS 1, read by the rosbags library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags.rosbag1 import Reader

from spann3r_ros.recordings.storage_file import ROS1, Channel, StorageError

RENAMED = {"tf/msg/tfMessage": "tf2_msgs/msg/TFMessage"}

REINDEX = "`rosbag reindex FILE` of a ROS 1 installation, or `pip install rosbags` and `rosbags-convert` after it"


class Ros1File:
    """See ``StorageFile``.

    Raises:
        StorageError: a bag that the library cannot read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        self._reader = Reader(path)
        try:
            self._reader.open()
        except Exception as error:  # damaged files end in any of the library's errors
            raise StorageError(
                f"{error}", f"A recorder that was killed leaves a bag without an index: {REINDEX}"
            ) from error
        connections = self._reader.connections
        self._connections = {connection.id: connection for connection in connections}
        self.channels = {
            c.id: Channel(c.topic, RENAMED.get(c.msgtype, c.msgtype), ROS1, c.msgdef.data) for c in connections
        }
        self.counts = Counter({c.id: c.msgcount for c in connections})
        self.promised = Counter(self.counts)
        empty = not self.counts.total()
        self.start, self.end = (0, 0) if empty else (self._reader.start_time, self._reader.end_time - 1)

    def close(self) -> None:
        """Give the file back."""
        self._reader.close()

    def messages(
        self, wanted: Collection[int], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[int, int, bytes]]:
        """See ``StorageFile``; in the order of their times."""
        connections = [self._connections[number] for number in wanted]
        try:
            for connection, time, data in self._reader.messages(connections, start, stop):
                yield connection.id, time, data
        except Exception as error:  # as above
            self.damage = self.damage or f"{type(error).__name__}: {error}"
