"""A streaming model whose memory begins anew: every so many frames, or when it is lost; each time as a new submap."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from torch import Tensor

from spann3r_ros.errors import ConfigError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.memory.snapshot import KeptMemory, MemorySnapshot, memory_file, read_snapshot
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import M, StreamingModel
from spann3r_ros.prediction import Prediction
from spann3r_ros.streaming.saved_frames import load_frame, save_frame

COUNTERS = ("first_submap", "last_submap", "segments", "frames", "lost")
INNER = "inner."
"""How the tensors of the model's own memory begin."""


@dataclass(frozen=True)
class Segments:
    """When a memory begins anew.

    Attributes:
        frames: frames of a segment, the shared ones included.
        overlap: frames that a new memory is given of the segment before; less than ``frames``.
        lost_confidence: a final answer of a lower mean confidence counts as lost; 0: none does.
        lost_answers: after so many lost answers in a row the memory begins anew, but not before the segment has taken
            as many frames of its own: a place that cannot be seen must not cost a new memory with every frame.

    Raises:
        ConfigError: numbers that contradict each other.
    """

    frames: int = 200
    overlap: int = 4
    lost_confidence: float = 0.0
    lost_answers: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.frames:
            raise ConfigError(
                "frames that submaps share (submap.overlap)", got=self.overlap, expected=f"0 .. {self.frames - 1}"
            )
        if not 0.0 <= self.lost_confidence <= 1.0:
            raise ConfigError("lost_confidence of segments", got=self.lost_confidence, expected="0 .. 1")
        if self.lost_answers < 1:
            raise ConfigError("lost_answers of segments", got=self.lost_answers, expected=">= 1")


@dataclass(eq=False)
class SegmentedMemory(KeptMemory, Generic[M]):
    """The memory of the segment at hand; owned by the caller, changed only by ``Segmented``.

    Attributes:
        owner: fingerprint of the model that made it.
        inner: the model's own memory.
        recent: the last frames, which the next segment will share.
        first_submap: number of the segment's first submap; a model that opens submaps itself counts on from there.
        last_submap: highest number that was answered; -1 before the first answer.
        segments: how many there were before this one.
        frames: frames of this segment so far, the shared ones included.
        lost: lost answers in a row.
    """

    owner: str
    inner: M
    recent: list[Frame] = field(default_factory=list)
    first_submap: int = 0
    last_submap: int = -1
    segments: int = 0
    frames: int = 0
    lost: int = 0

    def status(self) -> MemoryStatus:
        """That of the model's own memory, which is the segment's, and which segment it is."""
        inner = self.inner.status()
        held = inner.bytes + sum(frame.image.nbytes for frame in self.recent)
        counters = {**inner.counters, "segments": self.segments + 1, "segment_frames": self.frames}
        return dataclasses.replace(inner, bytes=held, counters=counters)

    def snapshot(self) -> MemorySnapshot:
        """Everything, so that a run resumed from it continues bit for bit."""
        tensors: dict[str, Tensor] = {}
        state: dict[str, Any] = {name: getattr(self, name) for name in COUNTERS}
        state["recent"] = [save_frame(frame, f"recent.{i}", tensors) for i, frame in enumerate(self.recent)]
        inner = self.inner.snapshot()
        tensors |= {INNER + name: tensor for name, tensor in inner.tensors.items()}
        state["inner"] = {"owner": inner.owner, "state": dict(inner.state)}
        return MemorySnapshot(self.owner, tensors, state)


class Segmented(Generic[M]):
    """A streaming model in segments; see ``StreamingModel``.

    Args:
        model: the model whose memory begins anew.
        segments: when.
    """

    def __init__(self, model: StreamingModel[M], segments: Segments) -> None:
        self.inner, self.segments = model, segments
        self.name, self.metric, self.weights, self.device = model.name, model.metric, model.weights, model.device
        self.fingerprint = f"segments of {model.fingerprint}"

    def new_memory(self) -> SegmentedMemory[M]:
        """An empty memory."""
        return SegmentedMemory(self.fingerprint, self.inner.new_memory())

    def load_memory(self, path: Path) -> SegmentedMemory[M]:
        """A memory written by ``SegmentedMemory.save`` with the same weights and precision."""
        tensors, state = read_snapshot(path, self.fingerprint)
        with memory_file(path):
            with tempfile.TemporaryDirectory(prefix="spann3r_ros_") as folder:
                inner = Path(folder) / "inner.safetensors"
                if "inner" in tensors:  # as it was written once: a file within the file
                    tensors["inner"].numpy().tofile(inner)
                else:
                    own = {name.removeprefix(INNER): t for name, t in tensors.items() if name.startswith(INNER)}
                    MemorySnapshot(state["inner"]["owner"], own, state["inner"]["state"]).write(inner)
                memory = self.inner.load_memory(inner)
            recent = [load_frame(f"recent.{i}", tensors, entry) for i, entry in enumerate(state["recent"])]
            return SegmentedMemory(self.fingerprint, memory, recent, *(state[name] for name in COUNTERS))

    def step(self, frame: Frame, memory: SegmentedMemory[M]) -> list[Prediction]:
        """Take one frame, after the memory began anew when it was time.

        The answers that the old memory owes come first; those about shared frames come again, in the new submap.
        """
        self._check(memory)
        if self._is_over(memory):
            return self._begin_segment(frame, memory)
        answers = _numbered(self.inner.step(frame, memory.inner), memory.first_submap)
        memory.frames += 1
        self._note(frame, answers, memory)
        return answers

    def flush(self, memory: SegmentedMemory[M]) -> list[Prediction]:
        """The answers still owed in the segment at hand."""
        self._check(memory)
        answers = _numbered(self.inner.flush(memory.inner), memory.first_submap)
        self._count(answers, memory)
        return answers

    def _is_over(self, memory: SegmentedMemory[M]) -> bool:
        rules = self.segments
        is_lost = memory.lost >= rules.lost_answers and memory.frames >= rules.overlap + rules.lost_answers
        return memory.frames >= rules.frames or is_lost

    def _begin_segment(self, frame: Frame, memory: SegmentedMemory[M]) -> list[Prediction]:
        """Give the shared frames and a new one to a new memory; the old one changes only when that went well."""
        inner, shared = self.inner.new_memory(), list(memory.recent)
        answers = [answer for known in (*shared, frame) for answer in self.inner.step(known, inner)]
        owed = _numbered(self.inner.flush(memory.inner), memory.first_submap)
        self._count(owed, memory)
        memory.inner, memory.frames, memory.lost = inner, len(shared) + 1, 0
        memory.first_submap, memory.segments = memory.last_submap + 1, memory.segments + 1
        answers = _numbered(answers, memory.first_submap)
        self._note(frame, answers, memory)
        return owed + answers

    def _note(self, frame: Frame, answers: Sequence[Prediction], memory: SegmentedMemory[M]) -> None:
        """Remember the frame for the next segment, and count its answers."""
        memory.recent.append(frame)
        del memory.recent[: max(0, len(memory.recent) - self.segments.overlap)]
        self._count(answers, memory)

    def _count(self, answers: Sequence[Prediction], memory: SegmentedMemory[M]) -> None:
        for answer in answers:
            memory.last_submap = max(memory.last_submap, answer.submap)
            if answer.final:
                is_lost = float(answer.confidence.mean()) < self.segments.lost_confidence
                memory.lost = memory.lost + 1 if is_lost else 0

    def _check(self, memory: SegmentedMemory[M]) -> None:
        if memory.owner != self.fingerprint:
            raise MemoryMismatchError(
                "memory of another model", got=memory.owner, expected=self.fingerprint, next_step="Use new_memory()"
            )


def _numbered(answers: Sequence[Prediction], first_submap: int) -> list[Prediction]:
    return [dataclasses.replace(answer, submap=first_submap + answer.submap) for answer in answers]
