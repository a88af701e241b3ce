from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spann3r_ros.memory.recurrent import RecurrentState


def tensors(value: float, batch: int = 3) -> dict[str, Tensor]:
    return {"state": torch.full((batch, 4, 2), value), "poses": torch.full((batch, 1, 6), 10 * value)}


INITIAL = tensors(0.0)


def values(state: RecurrentState) -> list[float]:
    """Of each sequence; both tensors agree."""
    assert torch.equal(state.tensors["poses"][:, 0, 0], 10 * state.tensors["state"][:, 0, 0])
    return [float(value) for value in state.tensors["state"][:, 0, 0]]


def test_a_frame_rewrites_everything() -> None:
    before = RecurrentState(tensors(1.0))
    after = before.rewritten(tensors(2.0), INITIAL)
    assert values(after) == [2.0] * 3 and values(before) == [1.0] * 3
    assert (after.frames, after.updates) == (1, 1)


def test_masks_are_of_sequences_and_a_reset_comes_last() -> None:
    after = RecurrentState(tensors(1.0)).rewritten(
        tensors(2.0), INITIAL, update=[True, False, True], reset=[False, False, True]
    )
    assert values(after) == [2.0, 1.0, 0.0] and (after.frames, after.updates) == (1, 1)
    read = after.rewritten(tensors(5.0), INITIAL, update=[False] * 3)
    assert values(read) == values(after) and (read.frames, read.updates) == (2, 1)


def test_what_is_not_taken_up_leaves_no_trace_even_if_it_is_not_finite() -> None:
    after = RecurrentState(tensors(1.0)).rewritten(tensors(float("nan")), INITIAL, update=[False] * 3)
    assert values(after) == [1.0] * 3


def test_status_counts() -> None:
    status = RecurrentState(tensors(1.0), frames=5, updates=3).status()
    assert (status.tokens, status.capacity, status.bytes) == (15, 15, 4 * 3 * (8 + 6))
    assert (status.offered, status.inserted, status.rejected) == (5, 3, 2)


def test_a_restored_state_is_the_same() -> None:
    state = RecurrentState(tensors(1.5), 4, 2)
    again = RecurrentState.restored(state.tensors, state.counters(), {n: t[:1] for n, t in INITIAL.items()})
    assert values(again) == values(state) and (again.frames, again.updates) == (4, 2)


@pytest.mark.parametrize(
    ("change", "counters"),
    [
        ({"other": torch.zeros(3, 4, 2)}, {}),
        ({"state": torch.zeros(3, 5, 2)}, {}),
        ({"state": torch.zeros(4, 2)}, {}),
        ({"state": torch.zeros(3, 4, 2, dtype=torch.float16)}, {}),
        ({}, {"frames": 1}),
        ({}, {"frames": -1, "updates": -1}),
        ({}, {"frames": 2.0}),
    ],
)
def test_a_state_of_another_network_is_refused(change: dict[str, Tensor], counters: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"instead of|updates of"):
        RecurrentState.restored({**tensors(1.0), **change}, {"frames": 4, "updates": 2, **counters}, INITIAL)
