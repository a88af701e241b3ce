"""A memory goes back to before what was not trusted, as often as that can help."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from spann3r_ros.models.base import Stream
from spann3r_ros.streaming.retreat import MOST_RETREATS, Retreat


class Counting:
    """A stream whose memory is the list of frames that it was shown."""

    def __init__(self, marks: bool = True) -> None:
        self.memory: list[int] = []
        self._marks = marks

    def mark(self) -> Callable[[], None] | None:
        held = list(self.memory)
        return (lambda: setattr(self, "memory", list(held))) if self._marks else None


def shown(stream: Counting, frames: range) -> Retreat:
    retreat = Retreat(cast(Stream, stream))
    for index in frames:
        stream.memory.append(index)
        retreat.keep(index)
    return retreat


@pytest.mark.fault("lost")
def test_the_newest_state_before_the_frame_comes_back_again_and_again() -> None:
    stream = Counting()
    retreat = shown(stream, range(6))
    assert retreat.before(5) and stream.memory == [0, 1, 2, 3, 4]
    stream.memory.append(6)
    retreat.keep(6)
    assert retreat.before(6) and stream.memory == [0, 1, 2, 3, 4], "what was shown meanwhile is gone, too"
    assert not retreat.before(3), "older states are not kept"


@pytest.mark.fault("lost")
def test_a_memory_that_never_helps_is_followed() -> None:
    stream = Counting()
    retreat = shown(stream, range(6))
    assert [retreat.before(5) for _ in range(MOST_RETREATS + 2)] == [True] * MOST_RETREATS + [False] * 2
    retreat.trust()
    assert retreat.before(5)


def test_a_memory_too_large_to_be_copied_stays_as_it_is() -> None:
    stream = Counting(marks=False)
    assert not shown(stream, range(6)).before(5)
    assert stream.memory == [0, 1, 2, 3, 4, 5]
