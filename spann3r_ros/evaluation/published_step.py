"""The step of Spann3R as it is published: what the benchmark compares ours with.

Written by us from what is known of the published implementation, with the weights of our network: both heads in every
step, attention as two products and a softmax, keys and values normalized anew at every read, values made before the
memory decides, and a memory that grows by concatenation. It is as fast as that allows: nothing is slowed down.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from spann3r_ros.blocks import attention
from spann3r_ros.models.dust3r.network import Grid
from spann3r_ros.models.pointmap import Pointmap
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.models.spann3r.parameters import Spann3rParameters


class PublishedAnswer(NamedTuple):
    """Of one step: frame t by head 1, frame t + 1 by head 2, and whether frame t entered the memory."""

    refined: Pointmap
    immediate: Pointmap
    stored: bool


class PublishedMemory:
    """Raw keys and values (B, X, E), the attention that each token received, and how many insertions came after it."""

    def __init__(self, network: Spann3rNetwork, settings: Spann3rParameters) -> None:
        self.network, self.settings = network, settings
        self.keys = self.values = self.attention = self.age = torch.empty(0)
        self.tokens_per_frame = self.working_frames = self.long_term_tokens = 0

    def read(self, query: Tensor) -> Tensor:
        """(B, P, E) to what the memory says, plus the query itself."""
        norms, threshold = self.network, self.settings.attention_threshold
        keys, values = norms.norm_k(self.keys), norms.norm_v(self.values)
        scores = norms.norm_q(query) @ keys.transpose(1, 2) * query.shape[-1] ** -0.5
        weights = torch.softmax(scores, dim=-1)
        weights[weights < threshold] = 0
        weights = weights / weights.sum(dim=-1, keepdim=True)
        self.attention = self.attention + weights.sum(dim=1)
        found: Tensor = weights @ values + query
        return found

    def insert(self, key: Tensor, value: Tensor) -> bool:
        """Store raw key and value (B, P, E), unless the key is too similar to the working memory's."""
        batch, count, _ = key.shape
        limits = self.settings
        fresh = key.new_zeros(batch, count)
        if not self.tokens_per_frame:
            self.tokens_per_frame, self.working_frames = count, 1
            self.keys, self.values, self.attention, self.age = key, value, fresh, fresh
            return True
        if self._similarity(key) > limits.similarity_threshold:
            return False
        self.keys, self.values = torch.cat([self.keys, key], dim=1), torch.cat([self.values, value], dim=1)
        self.attention, self.age = torch.cat([self.attention, fresh], dim=1), torch.cat([self.age + 1, fresh], dim=1)
        self.working_frames += 1
        if self.working_frames > limits.working_frames:
            self.working_frames -= 1
            if limits.long_term_tokens == 0:
                self._keep(torch.arange(count, self.keys.shape[1]).expand(batch, -1))
            else:
                self.long_term_tokens += count
        if self.long_term_tokens > limits.long_term_tokens:
            self._prune()
        return True

    def _similarity(self, key: Tensor) -> float:
        """Highest mean cosine of the frame to one of the working memory; -1 when nothing is compared."""
        if self.settings.similarity_threshold == 1:
            return -1.0
        window = self.keys[:, -self.working_frames * self.tokens_per_frame :]
        shape = (len(key), self.working_frames, self.tokens_per_frame, -1)
        frames = functional.normalize(window, dim=-1).reshape(shape)
        cosines = (frames * functional.normalize(key, dim=-1)[:, None]).sum(dim=-1)
        return float(cosines.mean(dim=-1).max())

    def _prune(self) -> None:
        limits = self.settings
        weight = self.attention / self.age
        weight[self.age < limits.working_frames + limits.protected_frames] = 1e8
        self._keep(weight.topk(limits.long_term_tokens, dim=1, sorted=True).indices)
        self.long_term_tokens = limits.long_term_tokens - self.working_frames * self.tokens_per_frame

    def _keep(self, order: Tensor) -> None:
        index = order.unsqueeze(-1).expand(-1, -1, self.keys.shape[-1])
        self.keys, self.values = self.keys.gather(1, index), self.values.gather(1, index)
        self.attention, self.age = self.attention.gather(1, order), self.age.gather(1, order)


class PublishedStep:
    """A sequence, frame by frame, in float32.

    Args:
        network: with plain layers; it is not changed.
        settings: of the memory.
    """

    def __init__(self, network: Spann3rNetwork, settings: Spann3rParameters) -> None:
        self.network = network
        self.memory = PublishedMemory(network, settings)
        self._features: Tensor | None = None
        self._query: Tensor | None = None

    @torch.inference_mode()
    def step(self, pixels: Tensor) -> PublishedAnswer | None:
        """Take (B, 3, H, W) in [-1, 1]; None for the very first frame."""
        with explicit_attention():
            return self._step(pixels, self.network.dust3r.grid(pixels))

    def _step(self, pixels: Tensor, grid: Grid) -> PublishedAnswer | None:
        network, trunk = self.network, self.network.dust3r
        before, features = self._features, trunk.encode(pixels)
        self._features = features
        if before is None:
            return None
        fused = before if self._query is None else self.memory.read(self._query)
        layers1, layers2 = trunk.decode(fused, features, grid, grid)
        key, self._query = network.key(before, layers1), network.query(features, layers2)
        refined, immediate = trunk.pointmap(1, layers1, grid), trunk.pointmap(2, layers2, grid)
        value = network.value(refined.points, before, grid)
        return PublishedAnswer(refined, immediate, self.memory.insert(key, value + key))


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """``attention.attend`` by two products and a softmax, for any number of tokens; no mask is ever asked for."""
    assert mask is None
    scores = (query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5
    return torch.softmax(scores, dim=-1) @ value


@contextmanager
def explicit_attention() -> Iterator[None]:
    """All attention of this process is ``softmax_attention`` within the block."""
    ours = attention.attend
    attention.attend = softmax_attention
    try:
        yield
    finally:
        attention.attend = ours
