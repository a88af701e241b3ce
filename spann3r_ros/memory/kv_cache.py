"""Keys and values of past frames, which a new frame's tokens attend to, in buffers that are made once.

A frame occupies a slot. Keys say nothing about when their frame was seen, so a slot may be given to another frame and
the order of slots means nothing. When all are taken, one frame makes room: never the first, which defines the world,
nor one of the newest, but of the others that at which later frames looked least.

The frame that is being taken writes into the slot after the last one that is held. It becomes part of the memory with
``commit``; before that, giving up leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spann3r_ros.errors import ConfigError, MemoryMismatchError

FIRST_SLOTS = 8
"""Slots that a cache without a bound begins with."""

COUNTERS = ("frames", "offered", "dropped")


class CacheShape(NamedTuple):
    """Keys (and values) of one frame: so many layers of ``heads`` x ``entries`` vectors of ``head_dim`` numbers."""

    layers: int
    heads: int
    entries: int
    head_dim: int
    dtype: torch.dtype

    def bytes(self) -> int:
        """Of the keys and the values of a frame."""
        return 2 * self.layers * self.heads * self.entries * self.head_dim * self.dtype.itemsize


def check_bound(bound: int, recent: int) -> None:
    """Raise ConfigError for a bound without room for the first frame, the ``recent`` newest and one more."""
    if bound and bound < recent + 2:
        raise ConfigError(
            "frames of a cache of keys and values",
            got=bound,
            expected=f"0 (all), or at least {recent + 2}: the first, the {recent} newest and one more",
        )


class KvCache:
    """Frames, at most ``bound`` of them.

    Args:
        shapes: what is kept of a frame, by name.
        bound: most frames; 0: all of them, without a bound.
        recent: newest frames that are never dropped.
        device: of the buffers.

    Raises:
        ConfigError: see ``check_bound``.

    Attributes:
        keys, values: (layers, heads, slots, entries, head_dim) by name.
        frames: slots that are held, the first ones.
        offered, dropped: frames that were taken, and those of them that made room for others.
    """

    def __init__(self, shapes: Mapping[str, CacheShape], bound: int, recent: int, device: torch.device) -> None:
        check_bound(bound, recent)
        self.shapes, self.bound, self.recent, self.device = dict(shapes), bound, recent, device
        self.frames = self.offered = self.dropped = 0
        self.keys: dict[str, Tensor] = {}
        self.values: dict[str, Tensor] = {}
        self._received = torch.zeros(0, device=device)
        self._born = torch.zeros(0, dtype=torch.long, device=device)
        self._reserve()

    @property
    def slots(self) -> int:
        """How many the buffers have, that of the frame being taken included."""
        return len(self._born)

    def write(self, name: str, layer: int, key: Tensor, value: Tensor, entry: int = 0) -> None:
        """Note keys and values (1, heads, n, head_dim) of the frame that is being taken, from an entry on."""
        place = slice(entry, entry + key.shape[2])
        self.keys[name][layer, :, self.frames, place] = key[0]
        self.values[name][layer, :, self.frames, place] = value[0]

    def read(self, name: str, layer: int, entries: int | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values (1, heads, n, head_dim) of all frames and of the one being taken, of which ``entries``.

        They are views of the buffers, slot after slot.
        """
        shape = self.shapes[name]
        count = self.frames * shape.entries + (shape.entries if entries is None else entries)
        keys, values = (
            buffer[name][layer, :, : self.frames + 1].flatten(1, 2)[None, :, :count]
            for buffer in (self.keys, self.values)
        )
        return keys, values

    def read_entry(self, name: str, layer: int, entry: int) -> tuple[Tensor, Tensor]:
        """Keys and values (1, heads, frames + 1, head_dim) of one entry of each frame, that being taken included."""
        keys, values = (buffer[name][layer, None, :, : self.frames + 1, entry] for buffer in (self.keys, self.values))
        return keys, values

    def past(self) -> list[Tensor]:
        """Keys, then values, (1, layers, heads, frames x entries, head_dim) of each name: what is held, as views."""
        buffers = (buffer[name] for name in self.shapes for buffer in (self.keys, self.values))
        return [buffer[None, :, :, : self.frames].flatten(3, 4) for buffer in buffers]

    def take(self, own: Sequence[Tensor]) -> None:
        """Note all keys and values of the frame that is being taken, as ``PastTensors.own`` gives them."""
        buffers = (buffer[name] for name in self.shapes for buffer in (self.keys, self.values))
        for buffer, tensor in zip(buffers, own, strict=True):
            buffer[:, :, self.frames] = tensor[0]

    def commit(self, received: Tensor | None = None) -> None:
        """Hold the frame that was written.

        Args:
            received: (frames + 1,) float32, how much attention the frame paid to each slot; needed by a bound. Nothing
                of it is looked at by the host.
        """
        slot = self.frames
        self._born[slot], self._received[slot] = self.offered, 0.0
        if received is not None:
            self._received[:slot] += received[:slot]
        self.offered += 1
        if not self.bound or slot < self.bound:
            self.frames += 1
            self._reserve()
            return
        self.dropped += 1
        place = self._least_attended().view(1)
        for buffers in (self.keys, self.values):
            for buffer in buffers.values():
                buffer.index_copy_(2, place, buffer[:, :, slot : slot + 1].clone())
        for tally in (self._born, self._received):
            tally.index_copy_(0, place, tally[slot : slot + 1].clone())

    def _least_attended(self) -> Tensor:
        """The slot of the frame that received least attention per later frame, the first and the newest ones aside."""
        born = self._born[: self.frames]
        later = self.offered - 1 - born
        worth = self._received[: self.frames] / later.clamp(min=1)
        # The frame that was just taken is one of the newest.
        spared = (born == 0) | (later < self.recent)
        return worth.masked_fill(spared, torch.inf).argmin()

    def _reserve(self) -> None:
        """Room for one more frame; how much follows from the number of frames alone: resuming gives the same."""
        slots = self.bound + 1 if self.bound else FIRST_SLOTS
        while slots < self.frames + 1:
            slots *= 2
        if slots == self.slots:
            return
        for buffers in (self.keys, self.values):
            for name, shape in self.shapes.items():
                grown = torch.zeros(
                    (shape.layers, shape.heads, slots, shape.entries, shape.head_dim),
                    dtype=shape.dtype,
                    device=self.device,
                )
                if name in buffers:
                    grown[:, :, : self.slots] = buffers[name]
                buffers[name] = grown
        room = slots - self.slots
        self._received = torch.cat([self._received, self._received.new_zeros(room)])
        self._born = torch.cat([self._born, self._born.new_zeros(room)])

    def bytes(self) -> int:
        """Of all buffers."""
        buffers = [*self.keys.values(), *self.values.values(), self._received, self._born]
        return sum(buffer.numel() * buffer.element_size() for buffer in buffers)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that has to be kept to continue bit for bit, except ``counters``."""
        found = {"received": self._received[: self.frames], "born": self._born[: self.frames]}
        for name in self.shapes:
            found[f"{name}.keys"] = self.keys[name][:, :, : self.frames]
            found[f"{name}.values"] = self.values[name][:, :, : self.frames]
        return found

    def counters(self) -> dict[str, int]:
        """Counts, as ``restore`` takes them."""
        return {name: getattr(self, name) for name in COUNTERS}

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, int]) -> None:
        """Take over what ``tensors`` and ``counters`` gave; raises MemoryMismatchError when it does not fit."""
        frames, offered, dropped = (int(counters[name]) for name in COUNTERS)
        if not 0 <= frames <= (self.bound or frames) or offered != frames + dropped or dropped < 0:
            raise MemoryMismatchError(
                "frames of a saved cache",
                got=f"{frames} of {offered}, {dropped} dropped",
                expected=f"at most {self.bound or offered}, the rest dropped",
                next_step="Load it with the bound that it was made with",
            )
        for name, held in self._expected(frames).items():
            got = tensors.get(name)
            if got is None or (tuple(got.shape), got.dtype) != held:
                shown = "nothing" if got is None else f"{list(got.shape)} {got.dtype}"
                raise MemoryMismatchError(f"saved cache tensor '{name}'", got=shown, expected=f"{held[0]} {held[1]}")
        self.frames, self.offered, self.dropped = frames, offered, dropped
        self._reserve()
        self._received[:frames] = tensors["received"].to(self.device)
        self._born[:frames] = tensors["born"].to(self.device)
        for name in self.shapes:
            self.keys[name][:, :, :frames] = tensors[f"{name}.keys"].to(self.device)
            self.values[name][:, :, :frames] = tensors[f"{name}.values"].to(self.device)

    def _expected(self, frames: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and type of every tensor of a saved cache of so many frames."""
        found: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "received": ((frames,), torch.float32),
            "born": ((frames,), torch.long),
        }
        for name, shape in self.shapes.items():
            one = ((shape.layers, shape.heads, frames, shape.entries, shape.head_dim), shape.dtype)
            found[f"{name}.keys"] = found[f"{name}.values"] = one
        return found


class PastTensors:
    """A cache for functions of tensors: it is given what is held, and gives what is noted; each read is a copy.

    Args:
        shapes: as of the cache.
        past: of ``KvCache.past``; how many frames there are shows in its lengths alone, so that a trace fixes nothing.
    """

    def __init__(self, shapes: Mapping[str, CacheShape], past: Sequence[Tensor]) -> None:
        self.shapes = shapes
        self._past = dict(zip(shapes, zip(past[::2], past[1::2], strict=True), strict=True))
        self._own: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    @property
    def frames(self) -> int:
        """How many are held."""
        name, (keys, _) = next(iter(self._past.items()))
        return keys.shape[3] // self.shapes[name].entries

    def write(self, name: str, layer: int, key: Tensor, value: Tensor, entry: int = 0) -> None:
        """As of ``KvCache``; entries come in their order."""
        if entry:
            key, value = (torch.cat(pair, dim=2) for pair in zip(self._own[name, layer], (key, value), strict=True))
        self._own[name, layer] = key, value

    def read(self, name: str, layer: int, entries: int | None = None) -> tuple[Tensor, Tensor]:
        """As of ``KvCache``; ``entries`` are all that were written."""
        del entries
        (keys, values), (key, value) = self._past[name], self._own[name, layer]
        return torch.cat([keys[:, layer], key], dim=2), torch.cat([values[:, layer], value], dim=2)

    def read_entry(self, name: str, layer: int, entry: int) -> tuple[Tensor, Tensor]:
        """As of ``KvCache``."""
        keys, values = self.read(name, layer)
        step = self.shapes[name].entries
        return keys[:, :, entry::step], values[:, :, entry::step]

    def own(self) -> list[Tensor]:
        """Keys, then values, (1, layers, heads, entries, head_dim) of each name: what was written."""
        return [
            torch.stack([self._own[name, layer][kind] for layer in range(shape.layers)], dim=1)
            for name, shape in self.shapes.items()
            for kind in (0, 1)
        ]


def attention_paid(query: Tensor, keys: Tensor, frames: int) -> Tensor:
    """How the attention of queries (1, heads, n, d) to keys (1, heads, frames x m, d) spreads over frames, (frames,).

    It is float32 and sums to 1; the mean over heads and queries.
    """
    weights = torch.softmax((query @ keys.transpose(-2, -1)).float() * query.shape[-1] ** -0.5, dim=-1)
    return weights.view(*weights.shape[:-1], frames, -1).sum(dim=-1).mean(dim=(0, 1, 2))
