"""A stream of any model of windows: so many frames at once, each window joined to the one before.

Every window is in a frame and a unit of its own. The frames that two windows share are seen in both, pixel by pixel, so
a robust similarity on those pixels tells how the windows lie to each other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spann3r_ros.errors import ConfigError, GeometryError, ImageSizeError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.alignment import PointmapSample, align_samples
from spann3r_ros.memory.snapshot import KeptMemory, MemorySnapshot, memory_file, read_snapshot
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import WindowModel, WindowSettings
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.placing import placed
from spann3r_ros.streaming.saved_frames import load_frame, save_frame

logger = logging.getLogger(__name__)

JOINS = ("frame", "submaps")

COUNTERS = ("submap", "offered", "windows", "unjoined")


@dataclass(eq=False)
class WindowedMemory(KeptMemory):
    """The window that is being filled; owned by the caller, changed only by ``Windowed``.

    Attributes:
        owner: fingerprint of the model that made it.
        waiting: its frames so far; the first ones, one for each anchor, were answered in the window before.
        anchors: what the window before said of the shared frames, in the submap.
        size: (h, w) of every answer, fixed by the first frame; None before.
        submap: which submap the last window spoke in; -1 before the first.
        offered, windows, unjoined: frames seen, windows inferred, and those that could not be joined to the one before.
    """

    owner: str
    waiting: list[Frame] = field(default_factory=list)
    anchors: list[PointmapSample] = field(default_factory=list)
    size: tuple[int, int] | None = None
    submap: int = -1
    offered: int = 0
    windows: int = 0
    unjoined: int = 0

    def status(self) -> MemoryStatus:
        """Frames that wait; a model of windows has no tokens."""
        depths = [frame.depth for frame in self.waiting if frame.depth is not None]
        held = sum(frame.image.nbytes for frame in self.waiting) + sum(anchor.nbytes for anchor in self.anchors)
        held += sum(depth.nbytes for depth in depths)
        counters = {"waiting_frames": len(self.waiting), "windows": self.windows, "unjoined": self.unjoined}
        return MemoryStatus(bytes=held, offered=self.offered, inserted=self.offered, counters=counters)

    def snapshot(self) -> MemorySnapshot:
        """Everything, so that a run resumed from it continues bit for bit."""
        tensors: dict[str, Tensor] = {}
        state: dict[str, Any] = {name: getattr(self, name) for name in COUNTERS}
        state["size"] = self.size
        state["waiting"] = [save_frame(frame, f"waiting.{i}", tensors) for i, frame in enumerate(self.waiting)]
        for number, anchor in enumerate(self.anchors):
            tensors[f"anchor.{number}.points"] = torch.tensor(anchor.points)
            tensors[f"anchor.{number}.confidence"] = torch.tensor(anchor.confidence)
        state["anchors"] = len(self.anchors)
        return MemorySnapshot(self.owner, tensors, state)


class Windowed:
    """A model of windows with fixed weights; see ``StreamingModel``.

    With ``join`` "frame" all windows come in the first one's frame, and every frame is answered once; a window whose
    shared frames do not agree with the one before opens a submap instead of spoiling this one, and is counted. With
    "submaps" every window is a submap. In a submap of its own a window speaks of the shared frames, too: they tell
    whoever corrects the map how the submaps lie to each other.

    Args:
        model: the model of windows.
        settings: how many frames at once and shared, and how windows are joined.

    Raises:
        ConfigError: settings that contradict each other.
    """

    def __init__(self, model: WindowModel, settings: WindowSettings) -> None:
        if not 1 <= settings.overlap < settings.window:
            raise ConfigError(
                "overlap of windows", got=settings.overlap, expected=f"1 .. {settings.window - 1} of {settings.window}"
            )
        if settings.join not in JOINS:
            raise ConfigError("joining of windows", got=repr(settings.join), expected=" | ".join(JOINS))
        self.windows, self.settings = model, settings
        self.name, self.metric, self.weights, self.device = model.name, model.metric, model.weights, model.device
        self.fingerprint = model.fingerprint

    def new_memory(self) -> WindowedMemory:
        """An empty memory."""
        return WindowedMemory(self.fingerprint)

    def load_memory(self, path: Path) -> WindowedMemory:
        """A memory written by ``WindowedMemory.save`` with the same weights and precision."""
        tensors, state = read_snapshot(path, self.fingerprint)
        with memory_file(path):
            memory = WindowedMemory(
                self.fingerprint,
                [load_frame(f"waiting.{i}", tensors, entry) for i, entry in enumerate(state["waiting"])],
                [
                    PointmapSample(tensors[f"anchor.{i}.points"].numpy(), tensors[f"anchor.{i}.confidence"].numpy())
                    for i in range(state["anchors"])
                ],
                state["size"] and (state["size"][0], state["size"][1]),
                *(state[name] for name in COUNTERS),
            )
        if len(memory.anchors) > len(memory.waiting):
            raise MemoryMismatchError(
                f"shared frames in {path}", got=len(memory.anchors), expected=f"at most {len(memory.waiting)}"
            )
        if len(memory.waiting) >= self.settings.window:
            raise MemoryMismatchError(
                f"frames that wait in {path}",
                got=len(memory.waiting),
                expected=f"fewer than the window of {self.settings.window}",
                next_step="Load it with the window that it was made with",
            )
        return memory

    def step(self, frame: Frame, memory: WindowedMemory) -> list[Prediction]:
        """Take one frame; when it fills the window, all frames of the window that are not answered yet are."""
        self._check(memory)
        size = self.windows.answer_size(frame)
        if memory.size is not None and memory.size != size:
            raise ImageSizeError(size, memory.size)
        answers: list[Prediction] = []
        if len(memory.waiting) + 1 < self.settings.window:
            memory.waiting.append(frame)
        else:
            answers = self._infer([*memory.waiting, frame], memory)
        memory.size = size
        memory.offered += 1
        return answers

    def flush(self, memory: WindowedMemory) -> list[Prediction]:
        """The frames that wait for an answer, in a short window."""
        self._check(memory)
        return self._infer(memory.waiting, memory) if len(memory.waiting) > len(memory.anchors) else []

    def _infer(self, frames: Sequence[Frame], memory: WindowedMemory) -> list[Prediction]:
        """Answers of one window; the memory is changed last of all."""
        answers = self.windows.infer(frames)
        shared, submap, unjoined = len(memory.anchors), memory.submap, 0
        submap_from_window = Sim3()
        if shared == 0 or self.settings.join == "submaps":
            submap += 1
        else:
            try:
                samples = [_sample(answer) for answer in answers[:shared]]
                submap_from_window = align_samples(samples, memory.anchors).target_from_source
            except GeometryError as error:
                logger.warning("a window could not be joined to the one before, a new submap begins: %s", error)
                submap, unjoined = submap + 1, 1
        answers = [placed(answer, submap_from_window, submap) for answer in answers]
        kept = answers[-min(self.settings.overlap, len(answers)) :]
        anchors = [_sample(answer) for answer in kept]
        opened = submap != memory.submap
        memory.anchors, memory.waiting, memory.submap = anchors, list(frames[-len(kept) :]), submap
        memory.windows += 1
        memory.unjoined += unjoined
        return answers if opened else answers[shared:]

    def _check(self, memory: WindowedMemory) -> None:
        if memory.owner != self.fingerprint:
            raise MemoryMismatchError(
                "memory of another model", got=memory.owner, expected=self.fingerprint, next_step="Use new_memory()"
            )


def _sample(answer: Prediction) -> PointmapSample:
    return PointmapSample.of(answer.points, answer.confidence)
