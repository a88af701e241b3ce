"""Spann3R's spatial memory: a working and a long-term memory of tokens in fixed-capacity buffers (paper, section 3.3).

Tokens of the last frames are the working memory; older ones are the long-term memory, cut back to those that were
attended to most once there are more than it may hold. There is one buffer; "working" means its last entries.

What a read needs is computed once, at insertion: layer-normalized keys and values, and unit-length raw keys for the
similarity gate. Nothing grows: the buffers are made once, and pruning gathers into a spare one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from spann3r_ros.errors import ConfigError, MemoryMismatchError
from spann3r_ros.memory_status import MemoryStatus

logger = logging.getLogger(__name__)

PROTECTED = 1e8  # weight of tokens too young to be judged
ROWS = ("keys", "values", "directions")
TALLIES = ("attention", "age")
COUNTERS = ("tokens", "working_frames", "long_term_tokens", "offered", "inserted", "rejected", "prunes")


class Reading(NamedTuple):
    """Result of a read: what was read (B, P, width), and the attention (B, tokens) that each token received."""

    content: Tensor
    received: Tensor


class Insertion(NamedTuple):
    """Result of an insertion: tokens now held, and the (B, n) old indices that a prune kept, in their new order."""

    tokens: int
    survivors: Tensor | None


def attention_weights(query: Tensor, keys: Tensor, threshold: float, bias: Tensor | None = None) -> Tensor:
    """Weights (B, P, X) float32 with which normalized queries (B, P, E) look at normalized keys (B, X, E).

    Weights below the threshold become zero and the rest of the row is scaled to sum to one. A row that lies below the
    threshold as a whole is left as it is, since nothing would remain of it.
    """
    scores = (query @ keys.transpose(1, 2)).float() * query.shape[-1] ** -0.5
    if bias is not None:
        scores += bias
    weights = torch.softmax(scores, dim=-1)
    if threshold <= 0:
        return weights
    clipped = weights.masked_fill(weights < threshold, 0.0)
    total = clipped.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, clipped / total, weights)


class SpatialMemory:
    """Tokens of past frames, at most ``capacity`` of them.

    Args:
        batch: independent sequences that share every decision (1 on a robot).
        tokens_per_frame: P.
        width: E, of keys and values.
        working_frames: frames of the working memory.
        long_term_tokens: tokens kept by a prune; 0 forgets what leaves the working memory.
        attention_threshold: weights below it are cut from a read.
        similarity_threshold: a frame more similar than this to one in the window is not stored; 1 stores all.
        protected_frames: a prune spares tokens with fewer than working_frames + protected_frames later insertions.
        dtype, device: of the buffers.

    Raises:
        ConfigError: a long-term memory that cannot hold the working memory.
    """

    def __init__(
        self,
        *,
        batch: int,
        tokens_per_frame: int,
        width: int,
        working_frames: int = 5,
        long_term_tokens: int = 4000,
        attention_threshold: float = 5e-4,
        similarity_threshold: float = 0.95,
        protected_frames: int = 5,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        window = working_frames * tokens_per_frame
        if 0 < long_term_tokens < window:
            raise ConfigError(
                "memory.long_term_tokens",
                got=long_term_tokens,
                expected=f"0, or at least {working_frames} working frames x {tokens_per_frame} tokens = {window}",
                next_step="Raise it, or lower memory.working_frames or the image size",
            )
        if 0 < long_term_tokens < (working_frames + protected_frames) * tokens_per_frame:
            logger.warning(
                "memory.long_term_tokens = %d is less than the %d protected tokens: a prune must choose among young "
                "tokens blindly. Raise it, or lower memory.protected_frames.",
                long_term_tokens,
                (working_frames + protected_frames) * tokens_per_frame,
            )
        self.tokens_per_frame = tokens_per_frame
        self.max_working_frames = working_frames
        self.max_long_term_tokens = long_term_tokens
        self.attention_threshold = attention_threshold
        self.similarity_threshold = similarity_threshold
        self.protected_frames = protected_frames
        # The most that stands between an insertion and the prune that follows it.
        self.capacity = long_term_tokens + (working_frames + 1) * tokens_per_frame

        rows = (batch, self.capacity, width)
        self.keys, self.values, self.directions, self._spare = (
            torch.zeros(rows, dtype=dtype, device=device) for _ in range(4)
        )
        self.attention, self.age = (torch.zeros(rows[:2], device=device) for _ in range(2))
        # A CUDA device reads all rows behind a mask, so that shapes never change; a CPU reads those that are taken.
        self.static_shapes = self.keys.is_cuda
        self._mask = torch.full((self.capacity,), -torch.inf, device=device)
        self.tokens = self.working_frames = self.long_term_tokens = 0
        self.offered = self.inserted = self.rejected = self.prunes = 0
        self.similarity = float("nan")

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return self.keys.shape[0]

    def read(self, query: Tensor) -> Reading:
        """Look up normalized queries (B, P, E). The memory does not change until ``receive`` is called."""
        if self.static_shapes:
            weights = attention_weights(query, self.keys, self.attention_threshold, self._mask)
            content = weights.to(self.values.dtype) @ self.values
            return Reading(content, weights.sum(dim=1))
        weights = attention_weights(query, self.keys[:, : self.tokens], self.attention_threshold)
        return Reading(weights.to(self.values.dtype) @ self.values[:, : self.tokens], weights.sum(dim=1))

    def receive(self, received: Tensor) -> None:
        """Add the attention of a read to what the tokens received so far."""
        self.attention[:, : received.shape[1]] += received

    def similarities(self, directions: Tensor) -> Tensor | None:
        """Mean cosine (B, working frames) of unit raw keys (B, P, E) to each frame of the window; None when not gated.

        The window is the last entries of the buffer, as in the paper's code: right after a prune these are the least
        attended survivors, not the most recent frames.
        """
        if not self.tokens or self.similarity_threshold == 1:
            return None
        start = self.tokens - self.working_frames * self.tokens_per_frame
        window = self.directions[:, start : self.tokens].reshape(self.batch, self.working_frames, -1)
        cosines = window.float() @ directions.float().flatten(1).unsqueeze(-1)
        return cosines.squeeze(-1) / self.tokens_per_frame

    def accepts(self, similarity: float | None) -> bool:
        """Whether a frame of this highest similarity to the window (None: not gated) is new enough to be stored."""
        return similarity is None or similarity <= self.similarity_threshold

    def offer(self, similarity: float | None, accepted: bool) -> None:
        """Count a frame and what became of it."""
        self.offered += 1
        self.rejected += not accepted
        if similarity is not None:
            self.similarity = similarity

    def insert(self, directions: Tensor, keys: Tensor, values: Tensor) -> Insertion:
        """Store one frame: unit raw keys, normalized keys and normalized values, each (B, P, E)."""
        count = self.tokens_per_frame
        if self.working_frames == self.max_working_frames and self.max_long_term_tokens == 0:
            self._drop_oldest()
        start, end = self.tokens, self.tokens + count
        for name, tensor in zip(ROWS, (keys, values, directions), strict=True):
            getattr(self, name)[:, start:end] = tensor
        self.age[:, :start] += 1
        self.age[:, start:end] = 0
        self.attention[:, start:end] = 0
        self._set_tokens(end)
        self.inserted += 1
        if self.working_frames < self.max_working_frames:
            self.working_frames += 1
        else:
            self.long_term_tokens += count
        survivors = self._prune() if self.long_term_tokens > self.max_long_term_tokens else None
        return Insertion(self.tokens, survivors)

    def weights(self, attention: Tensor, age: Tensor) -> Tensor:
        """What tokens are worth to a prune: attention received per later insertion; young ones cannot be judged yet."""
        return (attention / age).masked_fill(age < self.max_working_frames + self.protected_frames, PROTECTED)

    def _prune(self) -> Tensor:
        """Keep the long-term number of tokens that received most attention per later insertion, best first."""
        keep = self.max_long_term_tokens
        weights = self.weights(self.attention[:, : self.tokens], self.age[:, : self.tokens])
        survivors = weights.topk(keep, dim=1, sorted=True).indices
        self._keep(survivors)
        self.long_term_tokens = keep - self.working_frames * self.tokens_per_frame
        self.prunes += 1
        return survivors

    def _drop_oldest(self) -> None:
        order = torch.arange(self.tokens_per_frame, self.tokens, device=self.age.device)
        self._keep(order.expand(self.batch, -1))
        self.working_frames -= 1

    def _keep(self, order: Tensor) -> None:
        """Gather the tokens ``order`` (B, n) to the front of every buffer, through the spare one."""
        count = order.shape[1]
        index = order.unsqueeze(-1).expand(-1, -1, self.keys.shape[-1])
        for name in ROWS:
            rows = getattr(self, name)
            torch.gather(rows, 1, index, out=self._spare[:, :count])
            setattr(self, name, self._spare)
            self._spare = rows
        for name in TALLIES:
            tally = getattr(self, name)
            tally[:, :count] = tally.gather(1, order)
        self._set_tokens(count)

    def _set_tokens(self, tokens: int) -> None:
        self.tokens = tokens
        self._mask[:tokens] = 0
        self._mask[tokens:] = -torch.inf

    def status(self) -> MemoryStatus:
        """Counters, without a look at the device."""
        buffers = (self.keys, self.values, self.directions, self._spare, self.attention, self.age, self._mask)
        return MemoryStatus(
            offered=self.offered,
            inserted=self.inserted,
            rejected=self.rejected,
            tokens=self.tokens,
            capacity=self.capacity,
            bytes=sum(buffer.numel() * buffer.element_size() for buffer in buffers),
            counters={
                "working_frames": self.working_frames,
                "long_term_tokens": self.long_term_tokens,
                "prunes": self.prunes,
                "similarity": self.similarity,
            },
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that has to be kept to continue bit for bit, except ``counters``."""
        return {name: getattr(self, name)[:, : self.tokens].contiguous() for name in ROWS + TALLIES}

    def counters(self) -> dict[str, float]:
        """Counts and the last similarity, as ``restore`` takes them."""
        return {name: getattr(self, name) for name in (*COUNTERS, "similarity")}

    def mark(self) -> Callable[[], None]:
        """What brings the memory back to what it holds now; costs a copy of its tokens."""
        tensors = {name: tensor.clone() for name, tensor in self.tensors().items()}
        counters = self.counters()
        return lambda: self.restore(tensors, counters)

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, float]) -> None:
        """Take over what ``tensors`` and ``counters`` gave; raises MemoryMismatchError when it does not fit."""
        tokens = int(counters["tokens"])
        for name in ROWS + TALLIES:
            target = getattr(self, name)
            expected = (self.batch, tokens, *target.shape[2:])
            if name not in tensors or tuple(tensors[name].shape) != expected or tokens > self.capacity:
                got = tuple(tensors[name].shape) if name in tensors else "nothing"
                raise MemoryMismatchError(
                    f"saved memory tensor '{name}'", got=got, expected=f"{expected}, at most {self.capacity} tokens"
                )
        for name in ROWS + TALLIES:
            getattr(self, name)[:, :tokens] = tensors[name]
        for name in COUNTERS:
            setattr(self, name, int(counters[name]))
        self.similarity = float(counters["similarity"])
        self._set_tokens(tokens)
