from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.alignment.kinematic_tree import clustered_scores, kinematic_tree
from spann3r_ros.errors import ConfigError

CHAIN = np.array([[0, 90, 5, 0, 0], [90, 0, 80, 4, 0], [5, 80, 0, 85, 3], [0, 4, 85, 0, 70], [0, 0, 3, 70, 0]], float)
NAMES = [f"{letter}.png" for letter in "abcde"]


def test_a_chain_hangs_on_its_middle() -> None:
    tree = kinematic_tree(CHAIN, NAMES)
    assert tree.root == 2 and set(tree.edges) == {(2, 1), (2, 3), (1, 0), (3, 4)}
    placed = {tree.root}
    for parent, child in tree.edges:  # parents before their children
        assert parent in placed
        placed.add(child)


def test_clusters_join_their_representatives() -> None:
    links = clustered_scores(CHAIN, [30] * 5)
    assert np.array_equal(links, links.T) and (np.count_nonzero(np.triu(links, 1)) == 4)
    assert len(kinematic_tree(links, NAMES).edges) == 4


def test_images_without_a_match_to_the_others_are_named() -> None:
    apart = CHAIN.copy()
    apart[:2, 2:] = apart[2:, :2] = 0
    with pytest.raises(ConfigError, match=r"share no match with the others: got a\.png, b\.png"):
        kinematic_tree(apart, NAMES)
