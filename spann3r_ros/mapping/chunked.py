"""A long sequence in chunks, joined by what they share and by loops: the pipeline of VGGT-Long.

Deng et al., arXiv 2507.16443. Any network that takes a set of images can be asked for the chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.geometry.irls import IrlsSettings, align_irls
from spann3r_ros.mapping.chunks import CHUNK, LOOP_CHUNK, OVERLAP, FrameRange, LoopItem, chunk_plan, loop_items
from spann3r_ros.mapping.sim3_graph import GraphEdge, accumulated, optimized
from spann3r_ros.sim3 import Sim3

Array = NDArray[Any]

CONFIDENT, LEAST_CONFIDENCE = 0.75, 1e-5
"""A point is kept from this share of its chunk's mean confidence on, and above this confidence."""


@dataclass(frozen=True, eq=False)
class ChunkAnswer:
    """What a network says about n images at once, in a frame and a unit of this call's own.

    Attributes:
        points: (n, h, w, 3) float32.
        confidence: (n, h, w) float32, positive.
        chunk_from_camera: one rigid pose each.
        valid: (n, h, w) pixels that may be used for alignments, or None for all.
    """

    points: Array
    confidence: Array
    chunk_from_camera: Sequence[Sim3]
    valid: NDArray[np.bool_] | None = None

    def part(self, begin: int, end: int) -> ChunkAnswer:
        """Images ``begin`` .. ``end - 1`` of it."""
        valid = None if self.valid is None else self.valid[begin:end]
        return ChunkAnswer(self.points[begin:end], self.confidence[begin:end], self.chunk_from_camera[begin:end], valid)


Infer = Callable[[Sequence[int]], ChunkAnswer]
"""A network, asked for frames of the sequence by their numbers."""


@dataclass(frozen=True)
class ChunkedSettings:
    """The published ones.

    Attributes:
        size, overlap: frames of a chunk, and those that it shares with the one before.
        loop_size: frames around each end of a loop that are inferred together.
        alignment: how two answers about the same images are aligned.
        iterations, damping: of the graph, see ``sim3_graph.optimized``.
    """

    size: int = CHUNK
    overlap: int = OVERLAP
    loop_size: int = LOOP_CHUNK
    alignment: IrlsSettings = field(default_factory=IrlsSettings)
    iterations: int = 30
    damping: float = 1e-6

    def __post_init__(self) -> None:
        if self.loop_size < 2:
            raise ConfigError("frames around an end of a loop", got=self.loop_size, expected=">= 2")


@dataclass(frozen=True, eq=False)
class ChunkedReconstruction:
    """A whole sequence in the frame of its first chunk.

    Attributes:
        chunks: which frames each chunk holds.
        answers: what the network said about each, in the chunk's frame.
        items: the loops that were looked at.
        measured: ``chunk_k_from_chunk_k+1`` by the frames that neighbors share.
        loops: what the loops measured.
        steps: ``measured``, made to agree with the loops.
        world_from_chunk: one similarity a chunk; the first is the identity.
    """

    chunks: list[FrameRange]
    answers: list[ChunkAnswer]
    items: list[LoopItem]
    measured: list[Sim3]
    loops: list[GraphEdge]
    steps: list[Sim3]
    world_from_chunk: list[Sim3]

    def world_from_camera(self) -> list[Sim3]:
        """A rigid pose for every frame, by the last chunk that holds it."""
        poses: dict[int, Sim3] = {}
        for chunk, answer, place in zip(self.chunks, self.answers, self.world_from_chunk, strict=True):
            for frame, pose in zip(range(*chunk), answer.chunk_from_camera, strict=True):
                poses[frame] = place.carry(pose)
        return [poses[frame] for frame in range(self.chunks[-1].end)]

    def clouds(self) -> Iterator[Array]:
        """(M, 3) float32 confident points of every chunk, the last one included, in the world."""
        for answer, place in zip(self.answers, self.world_from_chunk, strict=True):
            yield place.apply(answer.points[confident(answer.confidence)])


def confident(confidence: Array) -> NDArray[np.bool_]:
    """Pixels of a chunk that enter a cloud, of the shape of their confidences."""
    return np.asarray((confidence >= CONFIDENT * confidence.mean()) & (confidence > LEAST_CONFIDENCE))


def reconstruct_in_chunks(
    images: int, infer: Infer, pairs: Iterable[tuple[int, int]] = (), settings: ChunkedSettings | None = None
) -> ChunkedReconstruction:
    """Infer chunks and loops, align them, and make them agree. All answers are kept in memory.

    Args:
        images: of the sequence.
        infer: the network.
        pairs: frames (later, earlier) that show the same place, see ``retrieval.loop_pairs``.
        settings: by default the published ones.

    Raises:
        ConfigError: sizes that contradict each other.
        GeometryError: neighbors that share no pixel that both are sure of.
        DataError: an answer about other images than those that were asked for.
    """
    settings = settings or ChunkedSettings()
    chunks = chunk_plan(images, settings.size, settings.overlap)
    items = loop_items(pairs, chunks, settings.loop_size)
    answers = [_asked(infer, range(*chunk)) for chunk in chunks]
    measured = []
    for one, other in pairwise(answers):
        shared = settings.overlap
        measured.append(aligned(other.part(0, shared), one.part(len(one.points) - shared, len(one.points)), settings))
    loops = [_loop(infer, item, chunks, answers, settings) for item in items]
    steps = optimized(measured, loops, settings.iterations, settings.damping).steps
    return ChunkedReconstruction(chunks, answers, items, measured, loops, steps, accumulated(steps))


def aligned(source: ChunkAnswer, target: ChunkAnswer, settings: ChunkedSettings) -> Sim3:
    """``target_from_source`` of two answers about the same images."""
    valid = [answer.valid for answer in (source, target) if answer.valid is not None]
    return align_irls(
        source.points,
        target.points,
        source.confidence,
        target.confidence,
        settings.alignment,
        np.logical_and.reduce(valid) if valid else None,
    ).target_from_source


def _loop(
    infer: Infer,
    item: LoopItem,
    chunks: Sequence[FrameRange],
    answers: Sequence[ChunkAnswer],
    settings: ChunkedSettings,
) -> GraphEdge:
    """How the two chunks of a loop lie to each other, over one answer about images of both."""
    answer = _asked(infer, [*range(*item.first_frames), *range(*item.second_frames)])
    count = item.first_frames.end - item.first_frames.begin
    first = aligned(answer.part(0, count), _window(item.first, item.first_frames, chunks, answers), settings)
    rest = answer.part(count, len(answer.points))
    second = aligned(rest, _window(item.second, item.second_frames, chunks, answers), settings)
    return GraphEdge(item.first, item.second, second @ first.inverse())


def _window(
    chunk: int, frames: FrameRange, chunks: Sequence[FrameRange], answers: Sequence[ChunkAnswer]
) -> ChunkAnswer:
    begin = chunks[chunk].begin
    return answers[chunk].part(frames.begin - begin, frames.end - begin)


def _asked(infer: Infer, frames: Sequence[int]) -> ChunkAnswer:
    answer = infer(frames)
    counts = (len(answer.points), len(answer.confidence), len(answer.chunk_from_camera))
    if set(counts) != {len(frames)}:
        raise DataError("images in the answer about a chunk", got=counts, expected=f"{len(frames)} each")
    return answer
