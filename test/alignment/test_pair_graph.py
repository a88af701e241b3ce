from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.alignment.pair_graph import pair_graph, require_connected, require_graph, retrieval_graph
from spann3r_ros.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "count", "undirected"),
    [
        ("complete", 3, {(0, 1), (0, 2), (1, 2)}),
        ("swin-1", 4, {(0, 1), (1, 2), (2, 3), (0, 3)}),
        ("swin-2-noncyclic", 4, {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)}),
        ("logwin-2-noncyclic", 5, {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4)}),
        ("oneref-2", 4, {(0, 2), (1, 2), (2, 3)}),
        ("oneref", 3, {(0, 1), (0, 2)}),
        ("swin-9", 3, {(0, 1), (0, 2), (1, 2)}),
    ],
)
def test_graphs_are_symmetric_and_have_each_pair_once(text: str, count: int, undirected: set[tuple[int, int]]) -> None:
    found = pair_graph(text, count)
    assert len(found) == len(set(found)) == 2 * len(undirected)
    assert {(min(pair), max(pair)) for pair in found} == undirected


def test_the_published_window_pairs_an_image_with_itself() -> None:
    assert (0, 0) in pair_graph("swin-3", 3, as_published=True) and (0, 0) not in pair_graph("swin-3", 3)


def test_pairs_too_far_apart_are_filtered() -> None:
    assert {abs(i - j) for i, j in pair_graph("complete", 6, prefilter="seq2")} == {1, 2}
    assert {abs(i - j) for i, j in pair_graph("complete", 6, prefilter="cyc1")} == {1, 5}


def test_images_that_look_alike_are_paired() -> None:
    place = np.arange(6.0)
    similarity = 1 - np.abs(place[:, None] - place) / 10
    assert retrieval_graph(similarity, 0, 2) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    assert (0, 5) in retrieval_graph(similarity, 2, 1, first=0)


def test_images_that_nothing_joins_are_named() -> None:
    names = ["a.png", "b.png", "c.png", "d.png", "e.png"]
    require_connected([(0, 1), (1, 2), (3, 2), (4, 3)], names)
    with pytest.raises(ConfigError, match=r"falls apart: got 2 groups; not joined to the largest: b\.png, e\.png"):
        require_connected([(0, 2), (2, 3), (4, 1)], names)


@pytest.mark.parametrize("text", ["", "swin-", "swin-0", "ring", "oneref-x", "complete-3", "SWIN"])
def test_what_names_no_graph_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="graph of pairs"):
        require_graph(text)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"reference image.*got 4; expected 0 \.\. 3"):
        pair_graph("oneref-4", 4)
    with pytest.raises(ConfigError, match="images to pair: got 1"):
        pair_graph("complete", 1)
    with pytest.raises(ConfigError, match="filter of the pairs"):
        pair_graph("complete", 3, prefilter="near")
