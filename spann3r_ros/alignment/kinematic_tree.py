"""A tree of cameras, in which each is placed relative to its parent (MASt3R-SfM, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial.distance import squareform

from spann3r_ros.errors import ConfigError

Array = NDArray[np.float64]

FULL_OVERLAP = 3.0
"""Matches to a cell from which on two images could not be more alike."""

LEAST_SCORE = 1e-9


@dataclass(frozen=True)
class KinematicTree:
    """Who hangs on whom.

    Attributes:
        root: the image in the middle of the tree.
        edges: (parent, child), parents before their children.
    """

    root: int
    edges: list[tuple[int, int]]


def clustered_scores(scores: Array, cells: Sequence[int]) -> Array:
    """(n, n) scores of the links that join clusters of similar images, the most similar first (Ward's linkage).

    Args:
        scores: (n, n) numbers of matches, symmetric.
        cells: anchors of each image.
    """
    count = len(scores)
    most = FULL_OVERLAP * np.minimum.outer(np.asarray(cells, float), np.asarray(cells, float))
    alike = np.minimum(scores / most, 1.0)
    np.fill_diagonal(alike, 1.0)
    distance = np.where(alike != 0, 1.0 - alike, 2.0)
    links = np.eye(count)
    representative = {image: image for image in range(count)}
    for number, (first, second, _, _) in enumerate(linkage(squareform(distance), method="ward")):
        p, q = representative.pop(int(first)), representative.pop(int(second))
        # Images of one group may share no match themselves; then any link serves, since it measures nothing.
        links[p, q] = links[q, p] = alike[p, q] or alike[q, p] or LEAST_SCORE
        chosen = p if alike[p].sum() > alike[q].sum() else q
        alike[chosen] = np.maximum(alike[p], alike[q])
        representative[count + number] = chosen
    return links


def kinematic_tree(scores: Array, names: Sequence[str]) -> KinematicTree:
    """The maximum spanning tree of scores (n, n), hung up at its middle.

    Raises:
        ConfigError: images that nothing joins to the others, by name.
    """
    count = len(scores)
    require_matched(scores, names)
    tree = minimum_spanning_tree(csr_array(-scores))

    def ranks(start: int) -> NDArray[np.intp]:
        order = breadth_first_order(tree, start, directed=False, return_predecessors=False)
        found = np.empty(count, np.intp)
        found[order] = np.arange(count)
        return found

    one = ranks(0)
    other = ranks(int(one.argmax()))
    one = ranks(int(other.argmax()))
    root = int(np.minimum(one, other).argmax())
    order, parents = breadth_first_order(tree, root, directed=False)
    return KinematicTree(root, [(int(parents[child]), int(child)) for child in order[1:]])


def require_matched(scores: Array, names: Sequence[str]) -> None:
    """Raise ConfigError with the names of the images that no score (n, n) joins to the largest group."""
    parts, labels = connected_components(csr_array(scores), directed=False)
    if parts > 1:
        largest = np.bincount(labels).argmax()
        apart = [name for name, label in zip(names, labels, strict=True) if label != largest]
        raise ConfigError(
            "images that share no match with the others",
            got=", ".join(apart[:8]) + (f" and {len(apart) - 8} more" if len(apart) > 8 else ""),
            expected="a chain of matching images between any two",
            next_step="Leave them out, take images between them and the others, or use --align global",
        )
