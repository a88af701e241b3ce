from __future__ import annotations

from itertools import pairwise

import pytest

from spann3r_ros.errors import ConfigError
from spann3r_ros.mapping.chunks import FrameRange, LoopItem, chunk_of, chunk_plan, loop_items, window_around


@pytest.mark.parametrize("images", [1, 59, 60, 61, 90, 91, 1000])
def test_every_frame_is_in_a_chunk_and_neighbors_share_thirty(images: int) -> None:
    chunks = chunk_plan(images)
    assert {frame for chunk in chunks for frame in range(*chunk)} == set(range(images))
    assert all(one.end - other.begin == 30 for one, other in pairwise(chunks))
    assert all(chunk.end - chunk.begin == 60 for chunk in chunks[:-1])
    assert len(chunks) == 1 or chunks[-1].end - chunks[-1].begin > 30


@pytest.mark.parametrize(("images", "size", "overlap"), [(9, 5, 5), (9, 5, 0), (9, 0, -1), (0, 5, 2)])
def test_plans_that_lead_nowhere_are_refused(images: int, size: int, overlap: int) -> None:
    with pytest.raises(ConfigError):
        chunk_plan(images, size, overlap)


def test_windows_stay_in_their_chunk() -> None:
    chunk = FrameRange(30, 90)
    assert window_around(60, chunk, 10) == (50, 70)
    assert window_around(31, chunk, 10) == (30, 50) and window_around(89, chunk, 10) == (70, 90)
    assert window_around(35, FrameRange(30, 41), 10) == (30, 41)


def test_a_frame_belongs_to_the_later_chunk() -> None:
    chunks = chunk_plan(30, 12, 6)
    assert [chunk_of(frame, chunks) for frame in (0, 5, 6, 12, 29)] == [0, 0, 1, 2, 3]


def test_loops_within_a_chunk_and_further_ones_of_two_chunks_are_left_out() -> None:
    found = loop_items([(29, 1), (28, 2), (10, 9), (26, 14)], chunk_plan(30, 12, 6), 4)
    assert found == [LoopItem(3, FrameRange(26, 30), 0, FrameRange(0, 4)), LoopItem(3, (24, 28), 2, (12, 16))]
