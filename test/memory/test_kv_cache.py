from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spann3r_ros.errors import ConfigError, MemoryMismatchError
from spann3r_ros.memory.kv_cache import FIRST_SLOTS, CacheShape, KvCache, PastTensors, attention_paid

CPU = torch.device("cpu")
SHAPES = {
    "global": CacheShape(layers=2, heads=3, entries=4, head_dim=5, dtype=torch.float32),
    "camera": CacheShape(layers=1, heads=2, entries=3, head_dim=2, dtype=torch.float32),
}


def vectors(frame: int, name: str, layer: int = 0) -> tuple[Tensor, Tensor]:
    """Keys and values of a frame, which tell it from every other."""
    shape = SHAPES[name]
    generator = torch.Generator().manual_seed(1000 * frame + 10 * layer + len(name))
    key, value = torch.randn(2, 1, shape.heads, shape.entries, shape.head_dim, generator=generator)
    return key, value


def take(cache: KvCache, frame: int, received: list[float] | None = None) -> None:
    for name, shape in SHAPES.items():
        for layer in range(shape.layers):
            cache.write(name, layer, *vectors(frame, name, layer))
    cache.commit(None if received is None else torch.tensor(received))


def held(cache: KvCache) -> list[int]:
    """Which frames the slots hold, by their content in every layer and store."""
    found = []
    for slot in range(cache.frames):
        frames = set()
        for name, shape in SHAPES.items():
            for layer in range(shape.layers):
                frames |= {
                    frame
                    for frame in range(50)
                    if torch.equal(cache.keys[name][layer, :, slot], vectors(frame, name, layer)[0][0])
                    and torch.equal(cache.values[name][layer, :, slot], vectors(frame, name, layer)[1][0])
                }
        assert len(frames) == 1, "all layers of a slot are of one frame"
        found.append(frames.pop())
    return found


@pytest.mark.parametrize("frames", [0, 3])
def test_past_tensors_are_read_as_the_cache_and_taken_by_it(frames: int) -> None:
    cache = KvCache(SHAPES, bound=0, recent=1, device=CPU)
    for frame in range(frames):
        take(cache, frame)
    past = PastTensors(SHAPES, cache.past())
    assert past.frames == frames
    for name, shape in SHAPES.items():
        for layer in range(shape.layers):
            for entry in range(shape.entries):
                for place in (cache, past):
                    new = (tensor[:, :, entry : entry + 1] for tensor in vectors(frames, name, layer))
                    place.write(name, layer, *new, entry)
                pairs = zip(past.read(name, layer, entry + 1), cache.read(name, layer, entry + 1), strict=True)
                assert all(torch.equal(*pair) for pair in pairs)
                pairs = zip(past.read_entry(name, layer, entry), cache.read_entry(name, layer, entry), strict=True)
                assert all(torch.equal(*pair) for pair in pairs)
    other = KvCache(SHAPES, bound=0, recent=1, device=CPU)
    for frame in range(frames):
        take(other, frame)
    other.take(past.own())
    other.commit()
    assert held(other) == list(range(frames + 1))


def test_a_read_gives_all_frames_and_the_one_being_taken() -> None:
    cache = KvCache(SHAPES, bound=0, recent=1, device=CPU)
    for frame in range(3):
        take(cache, frame)
    cache.write("global", 1, *vectors(3, "global", 1))
    keys, values = cache.read("global", 1)
    assert torch.equal(keys, torch.cat([vectors(frame, "global", 1)[0] for frame in range(4)], dim=2))
    assert torch.equal(values, torch.cat([vectors(frame, "global", 1)[1] for frame in range(4)], dim=2))
    assert keys.data_ptr() == cache.keys["global"][1].data_ptr(), "nothing is copied"


def test_entries_of_a_frame_may_come_one_by_one() -> None:
    cache = KvCache(SHAPES, bound=0, recent=1, device=CPU)
    take(cache, 0)
    key, value = vectors(1, "camera")
    for entry in range(2):
        cache.write("camera", 0, key[:, :, entry : entry + 1], value[:, :, entry : entry + 1], entry)
    keys, _ = cache.read("camera", 0, entries=2)
    assert torch.equal(keys, torch.cat([vectors(0, "camera")[0], key[:, :, :2]], dim=2))
    keys, values = cache.read_entry("camera", 0, 1)
    assert torch.equal(keys, torch.cat([vectors(0, "camera")[0][:, :, 1:2], key[:, :, 1:2]], dim=2))
    assert torch.equal(values[:, :, 1:], value[:, :, 1:2])


def test_what_is_not_committed_changes_nothing() -> None:
    cache = KvCache(SHAPES, bound=0, recent=1, device=CPU)
    take(cache, 0)
    before = {name: tensor.clone() for name, tensor in cache.tensors().items()}
    cache.write("global", 0, *vectors(9, "global"))
    after = cache.tensors()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    take(cache, 1)
    assert held(cache) == [0, 1]


def test_without_a_bound_everything_is_kept() -> None:
    cache = KvCache(SHAPES, bound=0, recent=1, device=CPU)
    for frame in range(FIRST_SLOTS + 3):
        take(cache, frame)
    assert held(cache) == list(range(FIRST_SLOTS + 3)) and cache.slots == 2 * FIRST_SLOTS and cache.dropped == 0


def test_the_least_attended_frame_makes_room_but_never_the_first_or_a_new_one() -> None:
    cache = KvCache(SHAPES, bound=5, recent=2, device=CPU)
    for frame in range(5):
        take(cache, frame, [0.0, 0.4, 0.1, 0.3, 0.2, 0.0][: frame + 1])
    size = cache.bytes()
    # Of frames 1, 2 and 3 the second was looked at least; 0 is the first, and 4 with 5 are the newest.
    take(cache, 5, [0.0, 0.4, 0.1, 0.3, 0.0, 0.0])
    assert sorted(held(cache)) == [0, 1, 3, 4, 5]
    # Now frame 1 is no longer looked at, but it was so often before that frame 4 has less per later frame.
    slot = held(cache).index
    paid = [0.0] * 6
    paid[slot(1)], paid[slot(3)] = 0.2, 0.5
    take(cache, 6, paid)
    assert sorted(held(cache)) == [0, 1, 3, 5, 6]
    assert (cache.frames, cache.offered, cache.dropped, cache.bytes()) == (5, 7, 2, size)


@pytest.mark.parametrize("bound", [4, 9])
def test_a_long_run_keeps_the_first_and_the_newest_frames(bound: int) -> None:
    generator = torch.Generator().manual_seed(0)
    cache = KvCache(SHAPES, bound=bound, recent=2, device=CPU)
    for frame in range(30):
        take(cache, frame, torch.rand(cache.frames + 1, generator=generator).tolist())
        kept = held(cache)
        assert len(kept) == min(frame + 1, bound) and len(set(kept)) == len(kept)
        assert {0, max(0, frame - 1), frame} <= set(kept)


def test_a_bound_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"got 3; expected 0 \(all\), or at least 4: the first, the 2 newest"):
        KvCache(SHAPES, bound=3, recent=2, device=CPU)


@pytest.mark.parametrize("bound", [0, 5])
def test_a_restored_cache_goes_on_alike(bound: int) -> None:
    straight, stopped = (KvCache(SHAPES, bound=bound, recent=2, device=CPU) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    received = [torch.rand(50, generator=generator) for _ in range(20)]

    def run(cache: KvCache, frames: range) -> None:
        for frame in frames:
            take(cache, frame, received[frame][: cache.frames + 1].tolist())

    run(straight, range(20))
    run(stopped, range(9))
    resumed = KvCache(SHAPES, bound=bound, recent=2, device=CPU)
    resumed.restore({name: t.clone() for name, t in stopped.tensors().items()}, stopped.counters())
    assert resumed.slots == stopped.slots
    run(resumed, range(9, 20))
    assert held(resumed) == held(straight) and resumed.counters() == straight.counters()
    assert all(torch.equal(tensor, straight.tensors()[name]) for name, tensor in resumed.tensors().items())


def test_a_saved_cache_that_does_not_fit_is_refused() -> None:
    cache = KvCache(SHAPES, bound=5, recent=2, device=CPU)
    for frame in range(5):
        take(cache, frame, [0.0] * (frame + 1))
    tensors, counters = cache.tensors(), cache.counters()
    smaller = KvCache(SHAPES, bound=4, recent=2, device=CPU)
    with pytest.raises(MemoryMismatchError, match=r"got 5 of 5, 0 dropped; expected at most 4"):
        smaller.restore(tensors, counters)
    for name in tensors:
        with pytest.raises(MemoryMismatchError, match=f"'{name}'"):
            cache.restore({**tensors, name: tensors[name][..., :1]}, counters)
        with pytest.raises(MemoryMismatchError, match="got nothing"):
            cache.restore({other: t for other, t in tensors.items() if other != name}, counters)
    with pytest.raises(MemoryMismatchError):
        cache.restore(tensors, {**counters, "offered": 4})


def test_attention_is_shared_out_among_frames() -> None:
    generator = torch.Generator().manual_seed(0)
    query, keys = torch.randn(1, 2, 3, 4, generator=generator), torch.randn(1, 2, 15, 4, generator=generator)
    paid = attention_paid(query, keys, 3)
    weights = torch.softmax(query @ keys.transpose(2, 3) / 2, dim=-1)
    torch.testing.assert_close(paid, torch.stack([part.sum() for part in weights.split(5, dim=3)]) / 6)
    assert float(paid.sum()) == pytest.approx(1.0)
