"""A message of a bag as it was recorded, its topic, and its stamp, read without decoding the rest."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from spann3r_ros.errors import DataError
from spann3r_ros.recordings.storage_file import CDR


@dataclass(frozen=True)
class Topic:
    """Type and number of messages of one topic."""

    name: str
    type: str
    count: int
    encoding: str = CDR


@dataclass(frozen=True)
class RawMessage:
    """One message as it was recorded.

    Attributes:
        topic: its topic.
        time: nanoseconds when it was recorded.
        data: CDR bytes.
    """

    topic: Topic
    time: int
    data: bytes


def header_stamp(message: RawMessage, unstamped: bool = True) -> int:
    """As ``stamp_in_header``; the time of recording where that is 0 and ``unstamped`` says that drivers set none."""
    return stamp_in_header(message) or (message.time if unstamped else 0)


def stamp_in_header(message: RawMessage) -> int:
    """Stamp of a message that begins with a ``std_msgs/Header``, in nanoseconds, without decoding the rest."""
    if len(message.data) < 12:
        raise DataError(f"message of {message.topic.name}", got=f"{len(message.data)} bytes", expected="a header")
    seconds, nanoseconds = struct.unpack_from("<iI" if message.data[1] else ">iI", message.data, 4)
    return max(0, int(seconds) * 1_000_000_000 + int(nanoseconds))
