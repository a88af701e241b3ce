"""Which images are paired: graphs over a set of images, as DUSt3R's and MASt3R's demonstrations name them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from spann3r_ros.errors import ConfigError

Edge = tuple[int, int]

FORMS = "complete | swin[-N][-noncyclic] | logwin[-N][-noncyclic] | oneref[-N]"

DEFAULT_WINDOW = 3


_FORM = re.compile(
    r"complete|oneref(?:-(?P<reference>\d+))?|(?P<kind>swin|logwin)(?:-(?P<window>\d+))?(?P<open>-noncyclic)?"
)


def require_graph(text: str) -> None:
    """Raise ConfigError for a text that names no graph."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ConfigError("graph of pairs", got=repr(text), expected=FORMS)
    if found["window"] is not None and int(found["window"]) < 1:
        raise ConfigError("window of the graph of pairs", got=found["window"], expected=">= 1")


def pair_graph(text: str, count: int, *, prefilter: str | None = None, as_published: bool = False) -> list[Edge]:
    """Ordered pairs (i, j) of ``count`` images, each pair in both orders.

    Args:
        text: ``complete``; ``swin-N``: each image with the N next ones, around the end unless ``noncyclic``;
            ``logwin-N``: with those 1, 2, 4, ... 2^(N-1) away; ``oneref-N``: image N with every other.
        count: number of images.
        prefilter: ``seqN`` keeps pairs at most N apart, ``cycN`` also around the end.
        as_published: a window as long as the circle also pairs images with themselves, and some twice.

    Raises:
        ConfigError: an unknown graph, a number out of range, or fewer than two images.
    """
    if count < 2:
        raise ConfigError("images to pair", got=count, expected=">= 2")
    undirected = _undirected(text, count)
    if not as_published:
        undirected = list(dict.fromkeys((i, j) for i, j in undirected if i != j))
    pairs = undirected + [(j, i) for i, j in undirected]
    return pairs if prefilter is None else _filtered(pairs, prefilter)


def retrieval_graph(similarity: NDArray[np.float64], keys: int, neighbors: int, first: int = 0) -> list[Edge]:
    """Undirected pairs of images that look alike (MASt3R-SfM, section 3.2).

    Args:
        similarity: (n, n), larger for images that look more alike.
        keys: images that are all paired with each other, chosen one after the other as the least like those before;
            every other image is paired with the key that it is most like. 0: none.
        neighbors: each image is paired with so many that it is most like, itself counted.
        first: the first key.
    """
    distance = 1.0 - np.asarray(similarity, dtype=np.float64)
    count, chosen = len(distance), [first][:keys]
    while 0 < len(chosen) < min(keys, count):
        chosen.append(int(distance[chosen].min(axis=0).argmax()))
    pairs = {(one, other) for place, one in enumerate(chosen) for other in chosen[place + 1 :]}
    for image in set(range(count)) - set(chosen) if chosen else ():
        nearest = chosen[int(distance[image, chosen].argmin())]
        pairs.add((min(image, nearest), max(image, nearest)))
    for image in range(count):
        for other in np.argsort(distance[image], kind="stable")[:neighbors]:
            if other != image:
                pairs.add((min(image, int(other)), max(image, int(other))))
    return sorted(pairs)


def require_connected(edges: Sequence[Edge], names: Sequence[str]) -> None:
    """Raise ConfigError, with the names of the images that no chain of pairs joins to the largest group."""
    first, second = np.array([edge[0] for edge in edges], int), np.array([edge[1] for edge in edges], int)
    matrix = coo_array((np.ones(len(edges)), (first, second)), shape=(len(names), len(names)))
    parts, labels = connected_components(matrix, directed=False)
    if parts > 1:
        largest = np.bincount(labels).argmax()
        apart = [name for name, label in zip(names, labels, strict=True) if label != largest]
        shown = ", ".join(apart[:8]) + (f" and {len(apart) - 8} more" if len(apart) > 8 else "")
        raise ConfigError(
            "the graph of pairs falls apart",
            got=f"{parts} groups; not joined to the largest: {shown}",
            expected="a chain of pairs between any two images",
            next_step="Take --pairs complete, or leave these images out",
        )


def _undirected(text: str, count: int) -> list[Edge]:
    require_graph(text)
    found = _FORM.fullmatch(text)
    assert found is not None
    if text == "complete":
        return [(i, j) for i in range(count) for j in range(i)]
    if found["kind"] is None:
        reference = int(found["reference"] or 0)
        if reference >= count:
            raise ConfigError("reference image of the graph of pairs", got=reference, expected=f"0 .. {count - 1}")
        return [(reference, j) for j in range(count) if j != reference]
    window = int(found["window"] or DEFAULT_WINDOW)
    if found["kind"] == "swin":
        steps = list(range(1, window + 1))
    else:
        steps = [sign * 2**power for power in range(min(window, 31)) for sign in (-1, 1)]
    pairs = []
    for image in range(count):
        for step in steps:
            other = image + step
            if not found["open"]:
                other %= count
            elif not 0 <= other < count:
                continue
            if found["kind"] == "swin" or other != image:
                pairs.append((min(image, other), max(image, other)))
    return list(dict.fromkeys(pairs))


def _filtered(pairs: Sequence[Edge], text: str) -> list[Edge]:
    found = re.fullmatch(r"(seq|cyc)(\d+)", text)
    if found is None:
        raise ConfigError("filter of the pairs", got=repr(text), expected="seqN | cycN")
    reach, around = int(found[2]), 1 + max(max(pair) for pair in pairs)

    def apart(i: int, j: int) -> int:
        return abs(i - j) if found[1] == "seq" else min(abs(i - j), abs(i + around - j), abs(i - around - j))

    return [(i, j) for i, j in pairs if apart(i, j) <= reach]
