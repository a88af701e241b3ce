"""Which frames are inferred together: chunks of a long sequence, and windows around the ends of a loop.

VGGT-Long (Deng et al., arXiv 2507.16443), section 3. Ranges are half-open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from spann3r_ros.errors import ConfigError

CHUNK, OVERLAP, LOOP_CHUNK = 60, 30, 20
"""The published sizes: frames of a chunk, shared by neighbors, and of each end of a loop."""


class FrameRange(NamedTuple):
    """Frames ``begin`` .. ``end - 1``."""

    begin: int
    end: int


class LoopItem(NamedTuple):
    """Two parts of two chunks that show the same place.

    Attributes:
        first, second: numbers of the chunks.
        first_frames, second_frames: frames of the sequence that are inferred together, first ones first.
    """

    first: int
    first_frames: FrameRange
    second: int
    second_frames: FrameRange


def chunk_plan(images: int, size: int = CHUNK, overlap: int = OVERLAP) -> list[FrameRange]:
    """Chunks of ``size`` frames, each sharing ``overlap`` with the one before; the last one may be shorter.

    Raises:
        ConfigError: no images, or an overlap that is not smaller than a chunk.
    """
    if not 0 < overlap < size:
        raise ConfigError("overlap of chunks", got=overlap, expected=f"1 .. {size - 1}")
    if images < 1:
        raise ConfigError("images of a sequence", got=images, expected=">= 1")
    if images <= size:
        return [FrameRange(0, images)]
    step = size - overlap
    count = -(-(images - overlap) // step)
    return [FrameRange(number * step, min(number * step + size, images)) for number in range(count)]


def chunk_of(frame: int, chunks: Sequence[FrameRange]) -> int:
    """The number of the last chunk that begins at or before a frame."""
    return max(number for number, chunk in enumerate(chunks) if chunk.begin <= frame)


def window_around(frame: int, chunk: FrameRange, half: int) -> FrameRange:
    """``2 half`` frames around one, moved into the chunk, or the chunk when it is shorter."""
    if frame - half < chunk.begin:
        return FrameRange(chunk.begin, min(chunk.end, chunk.begin + 2 * half))
    if frame + half > chunk.end:
        return FrameRange(max(chunk.end - 2 * half, chunk.begin), chunk.end)
    return FrameRange(frame - half, frame + half)


def loop_items(
    pairs: Iterable[tuple[int, int]], chunks: Sequence[FrameRange], size: int = LOOP_CHUNK
) -> list[LoopItem]:
    """What to infer for pairs of frames (larger, smaller) of the same place.

    A pair within one chunk tells nothing new, and of several of the same two chunks the first one counts.
    """
    found: dict[tuple[int, int], LoopItem] = {}
    for one, other in pairs:
        first, second = chunk_of(one, chunks), chunk_of(other, chunks)
        if first == second or (first, second) in found:
            continue
        windows = (window_around(one, chunks[first], size // 2), window_around(other, chunks[second], size // 2))
        found[first, second] = LoopItem(first, windows[0], second, windows[1])
    return list(found.values())
