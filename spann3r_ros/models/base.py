"""What every model looks like to the rest of the package.

A model's weights are fixed once loaded. What changes between frames is a memory that the caller owns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from spann3r_ros.frame import Frame
from spann3r_ros.memory.snapshot import MemorySnapshot
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.pointmap import EncodedView
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3


class Memory(Protocol):
    """Everything that changes between frames. The caller owns it; a new one is a new world."""

    def status(self) -> MemoryStatus:
        """Counters for a status message; no device synchronization."""
        ...

    def snapshot(self) -> MemorySnapshot:
        """All of it without a copy, so that a run resumed from it continues bit for bit."""
        ...

    def save(self, path: Path) -> None:
        """Write all of it as safetensors."""
        ...


@runtime_checkable
class MarkedMemory(Protocol):
    """A memory small enough that its state may be copied with every frame."""

    def mark(self) -> Callable[[], None]:
        """What brings the memory back to what it holds now; frames answered until then are not answered again."""
        ...


M = TypeVar("M", bound=Memory)


class Model(Protocol):
    """What is known of every model.

    Attributes:
        name: the registry's name of the family.
        metric: whether the unit of its pointmaps is the meter.
        weights: where the weights came from, for people.
        device: where it runs.
        fingerprint: a short text that differs between models whose memories must not be mixed.
    """

    name: str
    metric: bool
    weights: str
    device: torch.device
    fingerprint: str


class StreamingModel(Model, Protocol[M]):
    """A network that consumes one frame at a time."""

    def new_memory(self) -> M:
        """An empty memory."""
        ...

    def load_memory(self, path: Path) -> M:
        """A memory written by ``Memory.save``; raises MemoryMismatchError when it is not one of this model."""
        ...

    def step(self, frame: Frame, memory: M) -> list[Prediction]:
        """Take one frame; return what is now known, oldest first.

        The list may be empty (a final answer comes one frame late) and may speak of past frames. When an error is
        raised, the memory is as it was before the call.
        """
        ...

    def flush(self, memory: M) -> list[Prediction]:
        """The answers still owed when no further frame will come. The memory can go on afterwards."""
        ...


@runtime_checkable
class WindowModel(Model, Protocol):
    """A network that consumes a set of frames at once; ``streaming.windowed`` makes a stream of it."""

    def answer_size(self, frame: Frame) -> tuple[int, int]:
        """(h, w) of the answer about a frame, found without the network; FrameError for one that it cannot take."""
        ...

    def infer(self, frames: Sequence[Frame]) -> list[Prediction]:
        """One final answer a frame, in their order, in one frame and unit of this call's own (``submap`` 0)."""
        ...


@runtime_checkable
class PairModel(Model, Protocol):
    """A network that consumes two images; ``streaming.pairwise`` makes a stream of it.

    Attributes:
        mixed_sizes: whether the two may be of different sizes.
    """

    mixed_sizes: bool

    def encode(self, frame: Frame) -> EncodedView:
        """What the network keeps of one image; raises FrameError for one that it cannot take."""
        ...

    def infer(self, a: EncodedView, b: EncodedView) -> tuple[Prediction, Prediction]:
        """Answers about ``a`` and ``b``, both in the axes of a's camera and in a unit of this pair's own."""
        ...


@runtime_checkable
class Relocalizer(Model, Protocol):
    """A network that tells where in the one scene of its weights an image was taken; it keeps and maps nothing."""

    def locate(self, frame: Frame) -> Sim3:
        """``world_from_camera`` in the scene's frame, rigid.

        Raises:
            FrameError: an image that it cannot take.
            AnswerError: an answer that is no pose.
        """
        ...


@runtime_checkable
class PlaceDescriptor(Model, Protocol):
    """A network that gives one vector an image, alike where images show the same place.

    Attributes:
        width: numbers of a descriptor.
    """

    width: int

    def describe(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """(N, width) of unit length; raises FrameError for an image that it cannot take."""
        ...


@runtime_checkable
class WindowSettings(Protocol):
    """Parameters of a family of windows that say how it follows a stream.

    Attributes:
        window: frames that are inferred at once.
        overlap: how many of them the window before had, too; at least 1, less than ``window``.
        join: ``frame`` brings every window into the first one's frame; ``submaps`` makes a submap of each.
    """

    window: int
    overlap: int
    join: str


@runtime_checkable
class PairSettings(Protocol):
    """Parameters of a family of pairs that say how it follows a stream.

    Attributes:
        reference: ``first`` or ``keyframe``, the frame that each new one is matched against.
        keyframe_confidence: a frame of a lower mean confidence becomes the next keyframe.
    """

    reference: str
    keyframe_confidence: float


@dataclass(frozen=True)
class Relation:
    """How two submaps lie to each other.

    Attributes:
        a_from_b: similarity from the frame of the second group's submap into that of the first's.
        confidence: how sure that is, in [0, 1].
    """

    a_from_b: Sim3
    confidence: float


@runtime_checkable
class Relating(Protocol):
    """A model that can tell how two groups of frames lie to each other (loop closure, relocalization)."""

    def relate(self, a: Sequence[Prediction], b: Sequence[Prediction]) -> Relation | None:
        """How the submap of ``b`` lies to that of ``a``, or None when the images do not show the same place."""
        ...


class Stream(Protocol):
    """A streaming model and its memory, whatever type that memory is of: what a reconstruction drives.

    Attributes:
        model: what runs.
    """

    @property
    def model(self) -> Model: ...  # noqa: D102

    def fresh(self) -> Stream:
        """The same weights with an empty memory."""
        ...

    def loaded(self, path: Path) -> Stream:
        """The same weights with a memory that ``save`` wrote; raises MemoryMismatchError."""
        ...

    def step(self, frame: Frame) -> list[Prediction]:
        """See ``StreamingModel.step``."""
        ...

    def flush(self) -> list[Prediction]:
        """See ``StreamingModel.flush``."""
        ...

    def save(self, path: Path) -> None:
        """Write the memory."""
        ...

    def copied(self) -> Callable[[Path], None]:
        """What writes the memory as it is now, also later and from another thread."""
        ...

    def status(self) -> MemoryStatus:
        """What the memory holds."""
        ...

    def mark(self) -> Callable[[], None] | None:
        """See ``MarkedMemory.mark``; None where the memory cannot do that."""
        ...


class ModelStream(Generic[M]):
    """A streaming model with a memory of its own; see ``Stream``."""

    def __init__(self, model: StreamingModel[M], memory: M | None = None) -> None:
        self._model = model
        self.memory: M = model.new_memory() if memory is None else memory

    @property
    def model(self) -> StreamingModel[M]:  # noqa: D102
        return self._model

    def fresh(self) -> ModelStream[M]:  # noqa: D102
        return ModelStream(self._model)

    def loaded(self, path: Path) -> ModelStream[M]:  # noqa: D102
        return ModelStream(self._model, self._model.load_memory(path))

    def step(self, frame: Frame) -> list[Prediction]:  # noqa: D102
        return self._model.step(frame, self.memory)

    def flush(self) -> list[Prediction]:  # noqa: D102
        return self._model.flush(self.memory)

    def save(self, path: Path) -> None:  # noqa: D102
        self.memory.save(path)

    def copied(self) -> Callable[[Path], None]:  # noqa: D102
        return self.memory.snapshot().copied().write

    def status(self) -> MemoryStatus:  # noqa: D102
        return self.memory.status()

    def mark(self) -> Callable[[], None] | None:  # noqa: D102
        return self.memory.mark() if isinstance(self.memory, MarkedMemory) else None


AnyModel: TypeAlias = "Stream | WindowModel | PairModel"
"""What a family gives: a stream, or a model that ``streaming`` makes one of."""
