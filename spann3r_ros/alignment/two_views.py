"""Two images need no optimization: the surer pair of the two orders gives cameras and depth (DUSt3R, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.alignment.camera_estimates import camera_of_points, focal_of, pixel_places
from spann3r_ros.alignment.edge_predictions import EdgePrediction

Array = NDArray[np.float64]

PNP_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class TwoViews:
    """Both cameras, in the axes of the surer one.

    Attributes:
        reference: which image that is.
        focals: (2,) pixels.
        poses: (2, 4, 4) world_from_camera.
        depths: (h, w) of each image.
        points: (h, w, 3) of each image in the world, along the pixels' rays.
    """

    reference: int
    focals: Array
    poses: Array
    depths: list[Array]
    points: list[Array]


def two_views(forth: EdgePrediction, back: EdgePrediction, min_confidence: float = 3.0) -> TwoViews:
    """From the answers about (0, 1) and about (1, 0).

    Args:
        forth, back: in this order.
        min_confidence: of pixels that help to find a camera.
    """
    edges = (forth, back)
    largest = [
        np.maximum(forth.first_confidence, back.second_confidence),
        np.maximum(back.first_confidence, forth.second_confidence),
    ]
    focals = np.array([focal_of(edge.first_points) for edge in edges])
    relative: list[Array] = []
    for image, seen_from in ((0, back), (1, forth)):
        mask = largest[image] > min_confidence
        found = camera_of_points(seen_from.second_points, float(focals[image]), mask, iterations=PNP_ITERATIONS)
        relative.append(np.eye(4) if found is None else found.world_from_camera)
    reference = 0 if forth.score > back.score else 1
    other, chosen = 1 - reference, edges[reference]
    poses = np.stack([np.eye(4), np.eye(4)])
    poses[other] = relative[other]
    camera_from_world = np.linalg.inv(relative[other])
    seen = chosen.second_points.astype(np.float64) @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    depths = [chosen.first_points[..., 2].astype(np.float64), seen[..., 2]]
    depths = depths if reference == 0 else depths[::-1]
    points = [_placed(depth, focal, pose) for depth, focal, pose in zip(depths, focals, poses, strict=True)]
    return TwoViews(reference, focals, poses, depths, points)


def _placed(depth: Array, focal: float, world_from_camera: Array) -> Array:
    height, width = depth.shape
    rays = (pixel_places(height, width) - np.array([width / 2, height / 2])) / focal
    camera = np.concatenate([depth[..., None] * rays, depth[..., None]], axis=-1)
    return np.asarray(camera @ world_from_camera[:3, :3].T + world_from_camera[:3, 3])
