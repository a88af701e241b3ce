"""Where global alignment begins: pairs chained along the maximum spanning tree of their confidence (DUSt3R, 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from spann3r_ros.alignment.camera_estimates import camera_of_points, focal_of
from spann3r_ros.alignment.edge_predictions import EdgePrediction
from spann3r_ros.alignment.pair_graph import Edge
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]


@dataclass(eq=False)
class ChainedScene:
    """A first idea of the scene.

    Attributes:
        edges: of the tree, in the order in which they were used.
        focals: (n,) pixels.
        poses: (n, 4, 4) world_from_camera, rigid.
        points: (h, w, 3) float64 of each image, in the world.
    """

    edges: list[Edge]
    focals: Array
    poses: Array
    points: list[Array]


def tree_of(predictions: Sequence[EdgePrediction], count: int) -> list[tuple[float, Edge]]:
    """Edges of the maximum spanning tree with their scores, the best last; of (i, j) and (j, i) the better one."""
    ends = np.array([prediction.edge for prediction in predictions])
    scores = -np.array([prediction.score for prediction in predictions])
    tree = minimum_spanning_tree(coo_array((scores, (ends[:, 0], ends[:, 1])), shape=(count, count)).tocsr()).tocoo()
    return sorted((-float(score), (int(i), int(j))) for score, i, j in zip(tree.data, tree.row, tree.col, strict=True))


def chained(
    predictions: Sequence[EdgePrediction],
    confidences: Sequence[NDArray[np.float32]],
    *,
    min_confidence: float = 3.0,
    pnp_iterations: int = 10,
    stale_focals: bool = False,
) -> ChainedScene:
    """Chain pairs from the best one on along the tree.

    Args:
        predictions: of a connected graph.
        confidences: (h, w) of each image, the largest that any pair gives.
        min_confidence: pixels above it find the cameras that the tree does not give.
        pnp_iterations: of RANSAC.
        stale_focals: as published, the focal length of an image that is first for the first time comes from the pair
            before, which may show another camera.
    """
    chain = _Chain(predictions, len(confidences), stale_focals)
    chain.follow_tree()
    for place in np.argsort([-prediction.score for prediction in predictions]):
        i = predictions[place].edge[0]
        if chain.focals[i] is None:
            chain.focals[i] = focal_of(predictions[place].first_points)
    for image, confidence in enumerate(confidences):
        if image not in chain.poses:
            points = chain.points[image].astype(np.float32)
            mask = confidence > min_confidence
            found = camera_of_points(points, chain.focals[image], mask, iterations=pnp_iterations)
            chain.poses[image] = np.eye(4) if found is None else found.world_from_camera
            if chain.focals[image] is None:
                chain.focals[image] = float(max(confidence.shape)) if found is None else found.focal
    images = range(len(confidences))
    return ChainedScene(
        chain.edges,
        np.array([chain.focals[image] for image in images], dtype=np.float64),
        np.stack([chain.poses[image] for image in images]),
        [chain.points[image] for image in images],
    )


class _Chain:
    """Images that are placed so far."""

    def __init__(self, predictions: Sequence[EdgePrediction], count: int, stale_focals: bool) -> None:
        self._of = {prediction.edge: prediction for prediction in predictions}
        self._left = tree_of(predictions, count)
        self._stale_focals = stale_focals
        self.edges: list[Edge] = []
        self.points: dict[int, Array] = {}
        self.poses: dict[int, Array] = {}
        self.focals: list[float | None] = [None] * count

    def follow_tree(self) -> None:
        """Place all images; an edge of which neither is placed yet waits for the others."""
        _, (i, j) = self._left.pop()
        first = self._of[i, j]
        self.points[i], self.points[j] = (p.astype(np.float64) for p in (first.first_points, first.second_points))
        self.poses[i], self.focals[i] = np.eye(4), focal_of(first.first_points)
        self.edges.append((i, j))
        while self._left:
            score, (i, j) = self._left.pop()
            edge = self._of[i, j]
            if self.focals[i] is None:
                seen = self._of[self.edges[-1]] if self._stale_focals else edge
                self.focals[i] = focal_of(seen.first_points)
            if i in self.points:
                self._place(edge, i, j, edge.first_points, edge.first_confidence, edge.second_points)
            elif j in self.points:
                self._place(edge, j, i, edge.second_points, edge.second_confidence, edge.first_points)
            else:
                self._left.insert(0, (score, (i, j)))

    def _place(
        self,
        edge: EdgePrediction,
        known: int,
        new: int,
        known_points: NDArray[np.float32],
        confidence: NDArray[np.float32],
        new_points: NDArray[np.float32],
    ) -> None:
        world_from_edge = registered(known_points, self.points[known], confidence)
        self.points[new] = world_from_edge.apply(new_points.astype(np.float64))
        first = edge.edge[0]  # whose camera the edge speaks in
        if first not in self.poses:
            self.poses[first] = Sim3.rigid(world_from_edge.rotation, world_from_edge.translation).matrix()
        self.edges.append(edge.edge)


def registered(source: NDArray[np.float32], target: Array, confidence: NDArray[np.float32]) -> Sim3:
    """``target_from_source`` of two pointmaps (h, w, 3) of one image, weighted by confidence (h, w)."""
    return umeyama(source.reshape(-1, 3), target.reshape(-1, 3), weights=confidence.ravel())
