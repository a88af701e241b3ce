"""A state that a network rewrites with every frame: the same tensors before and after, only their values differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spann3r_ros.memory_status import MemoryStatus


@dataclass(frozen=True, eq=False)
class RecurrentState:
    """A state at one moment. It is never changed: a frame makes a new one, and whoever fails keeps the old one.

    Attributes:
        tensors: by name, (B, tokens, width) each; B sequences that know nothing of each other.
        frames: how many were seen.
        updates: how many of them were taken up.
    """

    tensors: Mapping[str, Tensor]
    frames: int = 0
    updates: int = 0

    def rewritten(
        self,
        new: Mapping[str, Tensor],
        initial: Mapping[str, Tensor],
        update: Sequence[bool] | None = None,
        reset: Sequence[bool] | None = None,
    ) -> RecurrentState:
        """The state after a frame.

        Args:
            new: what the network made of it, by the same names.
            initial: the state before any frame.
            update: by sequence, whether the frame is taken up; None: it is. One that is not is only answered.
            reset: by sequence, whether the state begins anew after the frame; None: it does not.
        """
        tensors = dict(new)
        if update is not None and not all(update):
            tensors = {name: _chosen(update, tensor, self.tensors[name]) for name, tensor in tensors.items()}
        if reset is not None and any(reset):
            tensors = {name: _chosen(reset, initial[name], tensor) for name, tensor in tensors.items()}
        taken = update is None or any(update)
        return RecurrentState(tensors, self.frames + 1, self.updates + taken)

    def status(self) -> MemoryStatus:
        """Counters, without a look at the device."""
        tokens = sum(tensor.shape[0] * tensor.shape[1] for tensor in self.tensors.values())
        return MemoryStatus(
            tokens=tokens,
            capacity=tokens,
            bytes=sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values()),
            offered=self.frames,
            inserted=self.updates,
            rejected=self.frames - self.updates,
        )

    def counters(self) -> dict[str, int]:
        """What a snapshot needs beside the tensors."""
        return {"frames": self.frames, "updates": self.updates}

    @classmethod
    def restored(
        cls, tensors: Mapping[str, Tensor], counters: Mapping[str, int], initial: Mapping[str, Tensor]
    ) -> RecurrentState:
        """A state from a snapshot, on the device of ``initial``.

        Raises:
            ValueError: tensors of other names, shapes (but for the number of sequences) or types than ``initial``, or
                counters that are none.
        """
        if tensors.keys() != initial.keys():
            raise ValueError(f"tensors {sorted(tensors)} instead of {sorted(initial)}")
        for name, tensor in tensors.items():
            expected = initial[name]
            if tensor.ndim != 3 or tensor.shape[1:] != expected.shape[1:] or tensor.dtype != expected.dtype:
                raise ValueError(f"{name} {tensor.dtype} {list(tensor.shape)} instead of {list(expected.shape)}")
        frames, updates = counters["frames"], counters["updates"]
        if type(frames) is not int or type(updates) is not int or not 0 <= updates <= frames:
            raise ValueError(f"{updates} updates of {frames} frames")
        return cls({name: tensor.to(initial[name].device) for name, tensor in tensors.items()}, frames, updates)


def _chosen(mask: Sequence[bool], one: Tensor, other: Tensor) -> Tensor:
    """``one`` for the sequences where the mask is true, ``other`` for the rest; bit for bit, infinities included."""
    return torch.where(torch.tensor(mask, device=one.device)[:, None, None], one, other)
