"""What a memory holds, in numbers, for status messages and reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryStatistics:
    """Counters since the memory was made. Reading them copies nothing from the device.

    Attributes:
        offered: frames whose key was offered to the memory.
        inserted: frames taken up.
        rejected: frames refused because they resemble a frame in the similarity window.
        working_frames: frames that count as working memory now.
        long_term_tokens: tokens that count as long-term memory now.
        tokens: all tokens held, working and long-term.
        capacity: the most tokens that the buffers can hold.
        prunes: how often the long-term memory was cut back.
        similarity: highest cosine similarity of the last offered frame to the window; NaN before the second frame.
        bytes: size of the memory on its device.
    """

    offered: int = 0
    inserted: int = 0
    rejected: int = 0
    working_frames: int = 0
    long_term_tokens: int = 0
    tokens: int = 0
    capacity: int = 0
    prunes: int = 0
    similarity: float = float("nan")
    bytes: int = 0
