from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.mapping import retrieval
from spann3r_ros.mapping.retrieval import LoopPair, RetrievalSettings, loop_pairs, similar_pairs, thinned


def walk(count: int = 200, again: int = 0) -> np.ndarray:
    """Descriptors of a path on which neighbors look alike; the last ``again`` images are in the first ones' places."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(count, 64))
    for image in range(again):
        places[count - again + image] = places[image] + 0.05 * rng.normal(size=64)
    smooth = places.copy()
    smooth[1:] += 0.8 * places[:-1]
    return smooth / np.linalg.norm(smooth, axis=1, keepdims=True)


def test_a_place_that_is_seen_again_is_found_once() -> None:
    found = loop_pairs(walk(again=20))
    assert found and all(pair.later - pair.earlier == 180 for pair in found)
    assert len(found) < 3 and len(similar_pairs(walk(again=20))) >= 18


def test_a_path_without_a_loop_has_none() -> None:
    assert loop_pairs(walk()) == []


def test_images_near_each_other_are_no_loop() -> None:
    same = np.tile(np.eye(4)[0], (8, 1))
    assert similar_pairs(same) == []
    settings = RetrievalSettings(least_gap=2, neighbors=7)
    assert {pair[:2] for pair in similar_pairs(same, settings)} <= {(b, a) for a in range(8) for b in range(a + 3, 8)}


def test_the_order_is_that_of_similarity_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RetrievalSettings(similarity=0.2, neighbors=3)
    found = similar_pairs(walk(), settings)
    similarities = [pair.similarity for pair in found]
    assert len(found) > 20 and similarities == sorted(similarities, reverse=True)
    monkeypatch.setattr(retrieval, "ROWS", 7)
    assert {pair[:2] for pair in similar_pairs(walk(), settings)} == {pair[:2] for pair in found}


def test_a_loop_suppresses_the_frames_around_both_ends() -> None:
    pairs = [LoopPair(100, 10, 0.99), LoopPair(101, 50, 0.98), LoopPair(80, 12, 0.97), LoopPair(140, 60, 0.96)]
    assert thinned(pairs, 25) == [pairs[0], pairs[3]]
    assert thinned(pairs, 1) == [pairs[0], pairs[2], pairs[3]]
    assert thinned([], 25) == []


@pytest.mark.parametrize("wrong", [np.zeros(4), np.full((3, 4), np.nan)])
def test_what_is_no_descriptor_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match="descriptors of images"):
        similar_pairs(wrong)
