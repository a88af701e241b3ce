"""Work on a CUDA device that is recorded once and replayed: one launch instead of thousands.

A step of Spann3R is 2,500 kernels of a few microseconds each. Launching them one by one keeps a CPU busy for several
times as long as the device computes. The same is true, less or more, of every network here that takes one image at a
time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

MOST_SHAPES = 4
"""Recordings that one function keeps; each holds its intermediate results' memory."""


@dataclass(frozen=True, eq=False)
class _Recording:
    """A recorded call: what to write its inputs into, and where its outputs will be."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def replayed(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for place, value in zip(self.inputs, inputs, strict=True):
            place.copy_(value)
        self.graph.replay()  # type: ignore[no-untyped-call]
        return tuple(output.clone() for output in self.outputs)


class Captured:
    """A function of tensors, recorded at the second call with inputs of the same shapes.

    On the CPU, and where ``enabled`` is false, it is the function itself. On CUDA every answer is the caller's own.

    Args:
        function: of tensors on one device, and of hashable keyword arguments; gives a tuple of tensors. It does the
            same work whatever the values are, never waits for the device, and keeps nothing.
        enabled: whether it may be recorded.

    Attributes:
        function: what does the work.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], enabled: bool = True) -> None:
        self.function, self.enabled = function, enabled
        self._made_of = function
        self._seen: set[Hashable] = set()
        self._recordings: dict[Hashable, _Recording] = {}
        self._lock = threading.Lock()  # recordings have one set of buffers

    def __call__(self, *inputs: Tensor, **fixed: Hashable) -> tuple[Tensor, ...]:
        """What the function gives; in inference mode only."""
        if not self.enabled or not inputs[0].is_cuda:
            return self.function(*inputs, **fixed)
        key = (*((tensor.shape, tensor.dtype, tensor.device) for tensor in inputs), *sorted(fixed.items()))
        with self._lock:
            if key not in self._recordings:
                if key not in self._seen:  # the first call chooses kernels and makes tables
                    self._seen.add(key)
                    return self.function(*inputs, **fixed)
                recording = self._recorded(inputs, fixed)
                if recording is None:
                    return self.function(*inputs, **fixed)
                if len(self._recordings) == MOST_SHAPES:
                    del self._recordings[next(iter(self._recordings))]
                self._recordings[key] = recording
            return self._recordings[key].replayed(inputs)

    @property
    def is_replaced(self) -> bool:
        """Whether another function does the work than the one that it was made of."""
        return self.function is not self._made_of

    def let(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        """Let another function do the work from now on, one that gives the same; it is never recorded."""
        self.function, self.enabled = function, False

    def _recorded(self, inputs: tuple[Tensor, ...], fixed: dict[str, Any]) -> _Recording | None:
        """A recording, not yet run; None where this cannot be recorded, which is tried once."""
        places = tuple(tensor.clone() for tensor in inputs)
        graph = torch.cuda.CUDAGraph()
        try:
            # What other threads do on the device meanwhile is their own affair.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outputs = self.function(*places, **fixed)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.enabled = False
            logger.warning(
                "the network's work cannot be recorded as a CUDA graph, and runs kernel by kernel: %s", error
            )
            return None
        return _Recording(graph, places, outputs)
