"""What the storage files of every kind of bag look like, whole or cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

CDR, ROS1 = "cdr", "ros1"
"""Serializations that can be read; others, such as protobuf, are named when they are asked for."""


@dataclass(frozen=True)
class Channel:
    """Messages of one type on one topic of one file.

    Attributes:
        topic: name.
        type: as ``sensor_msgs/msg/Image``; of another serialization than ROS, as it names its types.
        encoding: how messages are serialized.
        definition: text of the message's definition, or empty.
    """

    topic: str
    type: str
    encoding: str = CDR
    definition: str = ""


class StorageFile(Protocol):
    """One file of a bag.

    Attributes:
        channels: by number.
        counts: messages that can be read, by number of the channel.
        promised: messages that were recorded, by number of the channel, as the file's own index says; empty when it
            has none.
        damage: what of the file cannot be read, and where; empty when all is whole.
        start, end: nanoseconds when the first and the last message were recorded; 0 without messages.
    """

    channels: dict[int, Channel]
    counts: Counter[int]
    promised: Counter[int]
    damage: str
    start: int
    end: int

    def messages(
        self, wanted: Collection[int], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[int, int, bytes]]:
        """(channel, time of recording in ns, data) of the wanted channels in the order in which they were recorded.

        Args:
            wanted: numbers of channels.
            start, stop: only those recorded in [start, stop).
        """
        ...

    def close(self) -> None:
        """Give the file back."""
        ...


class StorageError(Exception):
    """A file from which nothing can be read; the reader of bags tells the user what to do about it.

    Args:
        reason: what is wrong.
        next_step: what to do about this cause.
    """

    def __init__(self, reason: str, next_step: str = "") -> None:
        super().__init__(reason)
        self.next_step = next_step
