"""The network over a sequence of frames with the spatial memory in the loop, differentiable within a window.

Same steps as ``models.spann3r`` takes on a robot (paper, section 3.1), but batched, with dropout on the memory's
attention, and with gradients through the tokens that the window itself wrote. Older tokens are in a real
``SpatialMemory``, without gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from spann3r_ros.memory.spatial import SpatialMemory
from spann3r_ros.models.dust3r.network import Grid
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.training.losses import ALONE, Answers
from spann3r_ros.training.processes import Processes

PairStep = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]
ValueStep = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass
class History:
    """What a group of walks carries from window to window.

    Attributes:
        spatial: the memory so far.
        query: (B, P, E) with which the next step reads it.
    """

    spatial: SpatialMemory
    query: Tensor


@dataclass
class Written:
    """What a window adds to the history, still with gradients.

    Attributes:
        directions, keys, values: (B, P, E) per frame: unit raw keys, normalized keys and values.
        contents: (B, P, E) what the memory answered, for each frame but the first of a sequence.
        received: (B, tokens) attention that the tokens of the memory and then those of the window received.
        query: (B, P, E) for the next window.
    """

    directions: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    contents: list[Tensor] = field(default_factory=list)
    received: Tensor | None = None
    query: Tensor | None = None


class Rollout:
    """Runs a network over batches of sequences.

    Args:
        network: to train.
        long_term_tokens: of the memory that walks carry along.
        dropout: of the attention to memory (0.15 in the published training).
        compiled: whether to compile encoder and pair step; worth it when thousands of steps share few shapes.
    """

    def __init__(
        self, network: Spann3rNetwork, *, long_term_tokens: int = 4000, dropout: float = 0.15, compiled: bool = False
    ) -> None:
        self.network = network
        self.long_term_tokens = long_term_tokens
        self.dropout = dropout
        trunk = network.architecture.trunk
        self._grid: Grid = (trunk.image_size[0] // trunk.patch_size, trunk.image_size[1] // trunk.patch_size)
        self._encode: Callable[[Tensor], Tensor] = network.dust3r.encode
        self._pair: PairStep = self._pair_step
        self._value: ValueStep = self._value_step
        if compiled:
            self._encode = torch.compile(network.dust3r.encode, dynamic=False)
            self._pair = torch.compile(self._pair_step, dynamic=False)
            self._value = torch.compile(self._value_step, dynamic=False)

    def encode(self, images: Tensor, singles: Tensor | None = None, apart: bool = False) -> tuple[Tensor, Tensor]:
        """Images (B, T, 3, H, W) in [-1, 1] to features (B, T, P, E), and single ones (S, 3, H, W) to (S, P, E).

        With ``apart`` the features of the sequences carry no gradients.
        """
        batch, frames = images.shape[:2]
        together = images.flatten(0, 1)
        if apart:
            with torch.no_grad():
                features = self._encode(together)
            sequences = features.reshape(batch, frames, *features.shape[1:])
            return sequences, features[:0] if singles is None else self._encode(singles)
        features = self._encode(together if singles is None else torch.cat([together, singles]))
        sequences = features[: batch * frames]
        return sequences.reshape(batch, frames, *features.shape[1:]), features[batch * frames :]

    def run(
        self,
        features: Tensor,
        truth: Tensor,
        use_truth: Tensor,
        history: History | None = None,
    ) -> tuple[Answers, Written]:
        """All pair steps of a window.

        Args:
            features: (B, T, P, E) of its frames.
            truth: (B, T, H, W, 3) true pointmaps in the first camera of the sequence.
            use_truth: (B,) bool, where the true pointmap is written to memory.
            history: of the windows before; unchanged. None: the sequence begins here.

        Returns:
            The answers of both heads, and what ``remember`` adds to the history once gradients are computed.
        """
        network = self.network
        query = None if history is None else history.query
        spatial = None if history is None else history.spatial
        written, maps = Written(), []
        for t in range(features.shape[1] - 1):
            now, following = features[:, t], features[:, t + 1]
            fused = now
            if query is not None:
                content, attention = self._read(network.norm_q(query), spatial, written)
                fused = content + query
                written.contents.append(content)
                written.received = _add(written.received, attention)
            left, left_confidence, right, right_confidence, key, query = self._pair(fused, now, following)
            maps.append((left, left_confidence, right, right_confidence))
            stored = torch.where(use_truth[:, None, None, None], truth[:, t], left)
            normal_key, value = self._value(stored, now, key)
            written.directions.append(functional.normalize(key.detach().float(), dim=-1, eps=1e-12))
            written.keys.append(normal_key)
            written.values.append(value)
        answers = Answers(*(torch.stack(part, dim=1) for part in zip(*maps, strict=True)))
        written.query = query
        return answers, written

    @torch.no_grad()
    def remember(self, history: History | None, written: Written) -> History:
        """The history after a window: its tokens move to the memory, with the attention they received meanwhile."""
        assert written.query is not None
        if history is None:
            example = written.values[0]
            history = self.new_history(written.query.detach(), example.dtype)
        spatial, received = history.spatial, written.received
        old, count = spatial.tokens, spatial.tokens_per_frame
        if received is not None and old:
            spatial.receive(received[:, :old])
        rows = zip(written.directions, written.keys, written.values, strict=True)
        for start, (directions, keys, values) in enumerate(rows):
            start = old + start * count
            pruned = spatial.insert(directions, keys, values).survivors is not None
            if received is not None and not pruned and received.shape[1] >= start + count:
                spatial.attention[:, spatial.tokens - count : spatial.tokens] = received[:, start : start + count]
        return History(spatial, written.query.detach())

    def new_history(self, query: Tensor, dtype: torch.dtype) -> History:
        """An empty one around a query (B, P, E), to be filled from a checkpoint."""
        batch, tokens, width = query.shape
        return History(self._new_memory(batch, tokens, width, dtype, query.device), query)

    def _pair_step(self, fused: Tensor, now: Tensor, following: Tensor) -> tuple[Tensor, ...]:
        network, trunk, grid = self.network, self.network.dust3r, self._grid
        layers1, layers2 = trunk.decode(fused, following, grid, grid)
        left, right = trunk.pointmap(1, layers1, grid), trunk.pointmap(2, layers2, grid)
        key, query = network.key(now, layers1), network.query(following, layers2)
        return left.points, left.confidence, right.points, right.confidence, key, query

    def _value_step(self, points: Tensor, features: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        network = self.network
        return network.norm_k(key), network.norm_v(network.value(points, features, self._grid) + key)

    def _new_memory(
        self, batch: int, tokens: int, width: int, dtype: torch.dtype, device: torch.device
    ) -> SpatialMemory:
        return SpatialMemory(
            batch=batch,
            tokens_per_frame=tokens,
            width=width,
            long_term_tokens=self.long_term_tokens,
            similarity_threshold=1.0,
            dtype=dtype,
            device=device,
        )

    def _read(self, query: Tensor, spatial: SpatialMemory | None, written: Written) -> tuple[Tensor, Tensor]:
        """Content (B, P, E) and the attention (B, tokens) given to the old tokens and those of the window."""
        old = 0 if spatial is None else spatial.tokens
        scores: list[Tensor] = []
        values: list[Tensor] = []
        if spatial is not None and old:
            scores.append(query @ spatial.keys[:, :old].transpose(1, 2))
            values.append(spatial.values[:, :old])
        if written.keys:
            scores.append(query @ torch.cat(written.keys, dim=1).transpose(1, 2))
            values.append(torch.cat(written.values, dim=1))
        weights = torch.softmax(torch.cat(scores, dim=-1).float() * query.shape[-1] ** -0.5, dim=-1)
        received = weights.detach().sum(dim=1)
        if self.dropout:
            weights = functional.dropout(weights, self.dropout, self.network.training)
        parts = torch.split(weights, [value.shape[1] for value in values], dim=-1)
        products = [part.to(value.dtype) @ value for part, value in zip(parts, values, strict=True)]
        content = products[0] if len(products) == 1 else products[0] + products[1]
        return content, received


def _add(total: Tensor | None, attention: Tensor) -> Tensor:
    """Sum of two attentions of which the newer may know more tokens."""
    if total is None:
        return attention
    return attention + functional.pad(total, (0, attention.shape[1] - total.shape[1]))


def drifted(points: Tensor, ages: Tensor, meters: float, processes: Processes = ALONE) -> Tensor:
    """Pointmaps as a memory would hold them that has lost its way, for a window of a walk.

    One random rigid displacement per sequence, about the middle of what is seen; it grows with the age of a frame and
    is complete at 40 frames.

    Args:
        points: (B, T, H, W, 3).
        ages: (T,) frames since the memory began.
        meters: standard deviation of each coordinate of the shift; that of the rotation vector is 0.3 rad per meter.
        processes: which have the other sequences of the batch.
    """
    share = (ages.float() / 40).clamp(max=1.0).to(points)
    turns, shifts = (processes.mine(torch.randn(len(points) * processes.count, 1, 3)).to(points) for _ in range(2))
    turn, shift = 0.3 * meters * turns * share[None, :, None], meters * shifts * share[None, :, None]
    cross = torch.zeros(*turn.shape[:2], 3, 3).to(points)
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -turn[..., 2], turn[..., 1], -turn[..., 0]
    rotation = torch.linalg.matrix_exp(cross - cross.transpose(-1, -2))
    middle = points.mean(dim=(1, 2, 3), keepdim=True)
    moved = torch.einsum("btij,bthwj->bthwi", rotation, points - middle)
    return moved + middle + shift[:, :, None, None]
