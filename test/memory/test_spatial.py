from __future__ import annotations

import logging
import resource

import pytest
import torch
from torch.nn import functional

from spann3r_ros.errors import ConfigError, MemoryMismatchError
from spann3r_ros.memory.spatial import SpatialMemory, attention_weights

TOKENS, WIDTH = 6, 8


def make(**settings) -> SpatialMemory:
    defaults = {"working_frames": 2, "long_term_tokens": 30, "protected_frames": 1}
    return SpatialMemory(batch=1, tokens_per_frame=TOKENS, width=WIDTH, **{**defaults, **settings})


def tokens(generator: torch.Generator, batch: int = 1) -> torch.Tensor:
    return functional.normalize(torch.randn(batch, TOKENS, WIDTH, generator=generator), dim=-1)


class Reference:
    """The memory as the specification words it: lists that grow by concatenation, one buffer of (key, value, A, N)."""

    def __init__(self, w: int, limit: int, protected: int) -> None:
        self.w, self.limit, self.protected = w, limit, protected
        self.k, self.v = torch.empty(0, WIDTH), torch.empty(0, WIDTH)
        self.a, self.n = torch.empty(0), torch.empty(0)
        self.wm = self.lm = 0

    def read(self, query: torch.Tensor, threshold: float) -> torch.Tensor:
        s = torch.softmax(query @ self.k.T / WIDTH**0.5, dim=-1)
        s = torch.where(s < threshold, torch.zeros(()), s)
        s = s / s.sum(dim=-1, keepdim=True)
        self.a = self.a + s.sum(dim=0)
        return s @ self.v

    def insert(self, key: torch.Tensor, value: torch.Tensor) -> None:
        self.n = torch.cat([self.n + 1, torch.zeros(TOKENS)])
        self.a = torch.cat([self.a, torch.zeros(TOKENS)])
        self.k, self.v = torch.cat([self.k, key]), torch.cat([self.v, value])
        self.wm += 1
        if self.wm > self.w:
            self.wm -= 1
            if self.limit == 0:
                self.k, self.v, self.a, self.n = (x[TOKENS:] for x in (self.k, self.v, self.a, self.n))
            else:
                self.lm += TOKENS
        if self.lm > self.limit:
            weight = self.a / self.n
            weight[self.n < self.w + self.protected] = 1e8
            index = weight.topk(self.limit).indices
            self.k, self.v, self.a, self.n = (x[index] for x in (self.k, self.v, self.a, self.n))
            self.lm = self.limit - self.wm * TOKENS


@pytest.mark.parametrize("limit", [0, 30, 45])
def test_it_equals_the_growing_memory_of_the_specification(limit: int) -> None:
    generator = torch.Generator().manual_seed(1)
    memory, reference = make(long_term_tokens=limit), Reference(2, limit, 1)
    for _ in range(40):
        key, value, query = (tokens(generator) for _ in range(3))
        if memory.tokens:
            content, received = memory.read(query)
            memory.receive(received)
            torch.testing.assert_close(content[0], reference.read(query[0], memory.attention_threshold))
        memory.insert(key, key, value)
        reference.insert(key[0], value[0])
        assert (memory.working_frames, memory.long_term_tokens) == (reference.wm, reference.lm)
        torch.testing.assert_close(memory.keys[0, : memory.tokens], reference.k)
        torch.testing.assert_close(memory.values[0, : memory.tokens], reference.v)
        torch.testing.assert_close(memory.attention[0, : memory.tokens], reference.a)
        assert torch.equal(memory.age[0, : memory.tokens], reference.n)
    assert (memory.prunes > 0) == (limit > 0)


def test_static_shapes_read_the_same() -> None:
    generator = torch.Generator().manual_seed(2)
    memory = make()
    for _ in range(20):
        memory.insert(*(tokens(generator) for _ in range(3)))
        query = tokens(generator)
        plain = memory.read(query)
        memory.static_shapes = True
        masked = memory.read(query)
        memory.static_shapes = False
        torch.testing.assert_close(masked.content, plain.content)
        torch.testing.assert_close(masked.received[:, : memory.tokens], plain.received)
        assert masked.received.shape == (1, memory.capacity) and not masked.received[:, memory.tokens :].any()


def test_weights_below_the_threshold_are_cut_and_rows_sum_to_one() -> None:
    keys = torch.eye(4)[None] * 8
    query = torch.tensor([[[8.0, 0.0, 0.0, 0.0]]])
    weights = attention_weights(query, keys, threshold=1e-3)
    assert weights[0, 0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert attention_weights(query, keys, threshold=0.0)[0, 0, 1] > 0


def test_a_row_wholly_below_the_threshold_is_left_as_it_is() -> None:
    keys = torch.zeros(1, 3000, WIDTH)
    weights = attention_weights(torch.zeros(1, 2, WIDTH), keys, threshold=5e-4)
    assert torch.isfinite(weights).all()
    torch.testing.assert_close(weights, torch.full((1, 2, 3000), 1 / 3000))


def test_the_gate_compares_patch_by_patch_with_the_window() -> None:
    generator = torch.Generator().manual_seed(3)
    memory = make()
    assert memory.similarities(tokens(generator)) is None
    frames = [tokens(generator) for _ in range(3)]
    for frame in frames:
        memory.insert(frame, frame, frame)
    similarities = memory.similarities(frames[2])
    assert similarities is not None
    expected = [float((frames[i] * frames[2]).sum(-1).mean()) for i in (1, 2)]
    torch.testing.assert_close(similarities, torch.tensor([expected]))
    assert memory.accepts(0.95) and not memory.accepts(0.951) and memory.accepts(None)
    memory.similarity_threshold = 1
    assert memory.similarities(frames[2]) is None


def test_offers_are_counted() -> None:
    memory = make()
    memory.offer(None, True)
    memory.offer(0.5, True)
    memory.offer(0.97, False)
    statistics = memory.status()
    assert (statistics.offered, statistics.rejected, statistics.counters["similarity"]) == (3, 1, 0.97)


def test_two_hundred_frames_stay_within_the_buffers() -> None:
    memory = SpatialMemory(
        batch=1, tokens_per_frame=64, width=256, working_frames=3, long_term_tokens=640, protected_frames=2
    )
    generator = torch.Generator().manual_seed(4)
    buffers = {memory.keys.data_ptr(), memory.values.data_ptr(), memory.directions.data_ptr(), memory._spare.data_ptr()}
    size, most, settled = memory.status().bytes, 0, 0
    for index in range(200):
        key = functional.normalize(torch.randn(1, 64, 256, generator=generator), dim=-1)
        if memory.tokens:
            memory.receive(memory.read(key).received)
        memory.insert(key, key, key)
        most = max(most, memory.tokens)
        if index == 60:
            settled = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    statistics = memory.status()
    assert most <= statistics.capacity == 640 + 4 * 64
    assert statistics.counters["prunes"] > 5 and statistics.inserted == 200
    assert {
        memory.keys.data_ptr(),
        memory.values.data_ptr(),
        memory.directions.data_ptr(),
        memory._spare.data_ptr(),
    } == buffers
    assert memory.status().bytes == size
    # In kilobytes; a buffer that grew by concatenation would have taken tens of megabytes by now.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - settled < 2048


def test_a_long_term_memory_smaller_than_the_working_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"memory.long_term_tokens: got 11; expected 0, or at least 2 working frames"):
        make(long_term_tokens=11)


def test_too_few_tokens_for_the_protected_ones_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        make(long_term_tokens=13)
    assert "13 is less than the 18 protected tokens" in caplog.text


def test_what_was_saved_is_restored_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(5)
    memory = make()
    for _ in range(20):
        memory.offer(0.1, True)
        memory.insert(*(tokens(generator) for _ in range(3)))
        memory.receive(memory.read(tokens(generator)).received)
    copy = make()
    copy.restore(memory.tensors(), memory.counters())
    assert copy.status() == memory.status()
    for _ in range(20):
        frame, query = [tokens(generator) for _ in range(3)], tokens(generator)
        for each in (memory, copy):
            each.insert(*frame)
            each.receive(each.read(query).received)
        for name in ("keys", "values", "directions", "attention", "age"):
            count = memory.tokens
            assert torch.equal(getattr(memory, name)[:, :count], getattr(copy, name)[:, :count])


def test_a_saved_memory_of_another_shape_is_refused() -> None:
    memory = make()
    memory.insert(*(torch.zeros(1, TOKENS, WIDTH) for _ in range(3)))
    tensors = memory.tensors()
    tensors["keys"] = tensors["keys"][..., :4]
    copy = make()
    with pytest.raises(MemoryMismatchError, match=r"'keys': got \(1, 6, 4\); expected \(1, 6, 8\)"):
        copy.restore(tensors, memory.counters())
    assert copy.tokens == 0
