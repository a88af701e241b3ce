"""Photographs in any order through a model of pairs and an alignment of all its answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from spann3r_ros.alignment.canonical_view import CanonicalSum
from spann3r_ros.alignment.cleaning import cleaned
from spann3r_ros.alignment.descent import descend
from spann3r_ros.alignment.edge_predictions import EdgePrediction, predict_edges, require_room
from spann3r_ros.alignment.global_alignment import AlignmentOptions, GlobalAlignment, KnownCameras
from spann3r_ros.alignment.kinematic_tree import require_matched
from spann3r_ros.alignment.matched_pair import MatchedPair, at_cells
from spann3r_ros.alignment.pair_graph import Edge, pair_graph, require_connected
from spann3r_ros.alignment.sparse_alignment import SparseAlignment, SparseOptions
from spann3r_ros.alignment.two_views import two_views
from spann3r_ros.errors import AnswerError, GeometryError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.matched_points import LEAST_MATCHES
from spann3r_ros.models.base import PairModel
from spann3r_ros.models.mast3r.matching import match_symmetric
from spann3r_ros.models.mast3r.model import STEP, SURE_MATCH, Mast3r
from spann3r_ros.models.pointmap import EncodedView, View
from spann3r_ros.models.unordered import UnorderedReconstruction
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]

RATE, LEAST_RATE, SCHEDULE = 0.01, 1e-6, "linear"
"""Steps of the optimization, as in the publication's demonstration."""


def align_globally(
    model: PairModel,
    frames: Sequence[Frame],
    *,
    pairs: str = "complete",
    iterations: int = 300,
    names: Sequence[str] | None = None,
    stepped: Callable[[], None] = lambda: None,
) -> UnorderedReconstruction:
    """Cameras and depth maps that the answers about all pairs agree on; see ``global_alignment``.

    The first image's camera is the submap; its unit is that of the average pair, meters where the model is metric.
    Calibrated images keep their focal lengths. The answers about all pairs are held in float32, 16 bytes for a pixel
    of an image in a pair (6 MB for a pair at 512 x 384), on the model's device while it is optimized.

    Args:
        model: DUSt3R, MASt3R, or another that answers pairs.
        frames: at least two.
        pairs: see ``pair_graph``.
        iterations: of the optimization; none for two images, for which the better one of the two pairs decides.
        names: of the images, for an error; else their indices.
        stepped: called after every decoding and every iteration.

    Raises:
        ConfigError: a graph that falls apart, or answers that do not fit into memory.
        AnswerError: an answer that is not finite.
    """
    edges = pair_graph(pairs, len(frames))
    require_connected(edges, names or [f"image {frame.index}" for frame in frames])
    views = [model.encode(frame) for frame in frames]
    require_room([view.view.colors.shape[:2] for view in views], edges)
    predictions = predict_edges(model, views, edges, stepped)
    if len(frames) == 2 and not _calibrated(views):
        answers = _from_two(predictions, views)
    else:
        answers = _from_many(predictions, views, iterations, model.device, stepped)
    return UnorderedReconstruction(list(range(len(frames))), answers, pair_scores(predictions, len(frames)))


def align_sparsely(
    model: Mast3r,
    frames: Sequence[Frame],
    *,
    pairs: str = "complete",
    iterations: int = 300,
    names: Sequence[str] | None = None,
    stepped: Callable[[], None] = lambda: None,
) -> UnorderedReconstruction:
    """Cameras and anchors that the matches of all pairs agree on; see ``sparse_alignment``.

    The first image's camera is the submap. Of each pair only its matches and the points of its anchors are kept, of
    each image the sum of its maps, so memory grows by about 0.1 MB a pair at 512 x 384.

    Args:
        model: with descriptors.
        frames: at least two.
        pairs: see ``pair_graph``; each unordered pair is decoded twice, in both orders.
        iterations: of each of the two stages.
        names: of the images, for an error; else their indices.
        stepped: called after every pair and every iteration.

    Raises:
        ConfigError: a graph that falls apart, or images that share no match with the others, by name.
        AnswerError: an answer that is not finite.
    """
    called = names or [f"image {frame.index}" for frame in frames]
    edges = [(i, j) for i, j in dict.fromkeys((min(e), max(e)) for e in pair_graph(pairs, len(frames)))]
    require_connected(edges, called)
    views = [model.encode(frame) for frame in frames]
    sums, matched = [CanonicalSum(STEP) for _ in views], []
    scores, sure = np.zeros((2, len(views), len(views)))
    for i, j in edges:
        pair = model.describe_symmetric(views[i], views[j])
        parts = (pair.a_in_a, pair.b_in_a, pair.b_in_b, pair.a_in_b)
        if not all(bool(torch.isfinite(part.pointmap.points).all()) for part in parts):
            raise AnswerError(f"the network's answer about images {i} and {j} is not finite")
        matches = match_symmetric((pair.a_in_a.map, pair.b_in_a.map), (pair.a_in_b.map, pair.b_in_b.map), STEP)
        for image, own in ((i, pair.a_in_a), (j, pair.b_in_b)):
            sums[image].add(own.pointmap.points[0], own.pointmap.confidence[0])
        of_b, of_a = (at_cells(p.pointmap.points[0], p.pointmap.confidence[0], STEP) for p in (parts[1], parts[3]))
        matched.append(MatchedPair((i, j), matches, of_b, of_a))
        assert matches.confidence is not None
        sure[i, j] = float((matches.confidence > SURE_MATCH).sum())
        for edge, both in (((i, j), parts[:2]), ((j, i), parts[2:])):
            scores[edge] = sum(float((1 - 1 / part.pointmap.confidence).mean()) for part in both)
        stepped()
    # Any two images have some matches by chance; those that are sure must join all.
    require_matched(np.where(sure >= LEAST_MATCHES, sure, 0.0), called)
    options = SparseOptions(coarse_iterations=iterations, fine_iterations=iterations)
    with torch.inference_mode(False):
        scene = SparseAlignment([each.view() for each in sums], matched, options, called)
        _, cameras = scene.optimize(stepped)
        points, depths = scene.dense(cameras)
    confidences = cleaned([v.confidence for v in scene.views], points, depths, cameras.intrinsics, cameras.poses)
    sizes = [view.size for view in scene.views]
    answers = in_first_camera(
        [view.view for view in views],
        [each.cpu().numpy().astype(np.float64) for each in points],
        [confidence.cpu().numpy() for confidence in confidences],
        [_orthonormal(pose) for pose in cameras.poses.double().cpu().numpy()],
        [_camera(matrix, *size) for matrix, size in zip(cameras.intrinsics.tolist(), sizes, strict=True)],
        1.0,
    )
    return UnorderedReconstruction(list(range(len(frames))), answers, scores)


def _orthonormal(pose: Array) -> Sim3:
    """A rigid transform of a matrix (4, 4) that a chain of float32 products has made a little skew."""
    left, _, right = np.linalg.svd(pose[:3, :3])
    return Sim3.rigid(left @ right, pose[:3, 3])


def pair_scores(predictions: Sequence[EdgePrediction], count: int) -> Array:
    """(n, n) scores of the ordered pairs: sums of their mean confidences in [0, 1], as Spann3R scores them."""
    scores = np.zeros((count, count))
    for prediction in predictions:
        maps = prediction.first_confidence, prediction.second_confidence
        scores[prediction.edge] = sum(float((1.0 - 1.0 / confidence).mean()) for confidence in maps)
    return scores


def _calibrated(views: Sequence[EncodedView]) -> bool:
    return all(view.view.intrinsics is not None for view in views)


def _known(views: Sequence[EncodedView]) -> KnownCameras:
    """Focal lengths and principal points, where every image has them."""
    if not _calibrated(views):
        return KnownCameras()
    cameras = {number: view.view.intrinsics for number, view in enumerate(views)}
    present = {number: camera for number, camera in cameras.items() if camera is not None}
    return KnownCameras(
        focals={number: (camera.fx + camera.fy) / 2 for number, camera in present.items()},
        principal_points={number: (camera.cx, camera.cy) for number, camera in present.items()},
    )


def _from_two(predictions: Sequence[EdgePrediction], views: Sequence[EncodedView]) -> list[Prediction]:
    of: dict[Edge, EdgePrediction] = {prediction.edge: prediction for prediction in predictions}
    found = two_views(of[0, 1], of[1, 0])
    wrong = [focal for focal in found.focals.tolist() if not (math.isfinite(focal) and focal > 0)]
    if wrong:
        raise GeometryError(
            "focal length that explains the pointmap of one of two images",
            got=f"{wrong[0]:.3g} px",
            expected="> 0 px",
            next_step="The network does not understand these images: give it more of them, or trained weights",
        )
    confidences = [
        np.maximum(of[0, 1].first_confidence, of[1, 0].second_confidence),
        np.maximum(of[1, 0].first_confidence, of[0, 1].second_confidence),
    ]
    sizes = [confidence.shape for confidence in confidences]
    cameras = [
        Intrinsics(focal, focal, width / 2, height / 2, width, height)
        for focal, (height, width) in zip(found.focals.tolist(), sizes, strict=True)
    ]
    poses = [Sim3.from_matrix(pose) for pose in found.poses]
    return in_first_camera([view.view for view in views], found.points, confidences, poses, cameras, 1.0)


def _from_many(
    predictions: Sequence[EdgePrediction],
    views: Sequence[EncodedView],
    iterations: int,
    device: torch.device,
    stepped: Callable[[], None],
) -> list[Prediction]:
    options = AlignmentOptions()
    scene = GlobalAlignment(predictions, options, _known(views), device)
    scene.start_from_tree()
    descend(
        scene.parameters(),
        scene.backward,
        iterations,
        rate=RATE,
        least_rate=LEAST_RATE,
        schedule=SCHEDULE,
        stepped=stepped,
    )
    with torch.no_grad():
        points, intrinsics = scene.point_maps(), scene.intrinsics()
        confidences = cleaned(
            [torch.from_numpy(confidence).to(device) for confidence in scene.confidences],
            points,
            scene.depth_maps(),
            intrinsics,
            scene.camera_poses(),
        )
    cameras = [_camera(matrix, *size) for matrix, size in zip(intrinsics.tolist(), scene.sizes, strict=True)]
    poses = [sim3_of(pose) for pose in rigid_parameters(scene)]
    # The pairs' scales have the mean `base_scale`: divided by it, the scene has the unit of the average pair.
    return in_first_camera(
        [view.view for view in views],
        [each.cpu().numpy().astype(np.float64) for each in points],
        [confidence.cpu().numpy() for confidence in confidences],
        poses,
        cameras,
        1.0 / options.base_scale,
    )


def _camera(matrix: list[list[float]], height: int, width: int) -> Intrinsics:
    """Of a (3, 3) matrix."""
    return Intrinsics(matrix[0][0], matrix[1][1], matrix[0][2], matrix[1][2], width, height)


def rigid_parameters(scene: GlobalAlignment) -> list[tuple[Array, Array]]:
    """Quaternion (x, y, z, w) and translation of each camera, float64."""
    poses = scene.poses.detach().double().cpu()
    translations = (poses[:, 4:].sign() * poses[:, 4:].abs().expm1()).numpy()
    return list(zip(poses[:, :4].numpy(), translations, strict=True))


def sim3_of(pose: tuple[Array, Array]) -> Sim3:
    """A rigid transform of a quaternion of any length and a translation."""
    return Sim3.rigid(Rotation.from_quat(pose[0]).as_matrix(), pose[1])


def in_first_camera(
    views: Sequence[View],
    points: Sequence[Array],
    confidences: Sequence[NDArray[np.float32]],
    world_from_camera: Sequence[Sim3],
    cameras: Sequence[Intrinsics],
    unit: float,
) -> list[Prediction]:
    """Answers in the axes of the first image's camera.

    Args:
        views: of the images.
        points: (h, w, 3) of each in the world.
        confidences: (h, w) of each, c as the network gives it; below 1: the pixel does not count.
        world_from_camera: rigid.
        cameras: intrinsics of each.
        unit: factor from the world's unit to that of the answers.
    """
    first_from_world = Sim3(unit) @ world_from_camera[0].inverse()
    answers = []
    for view, own, raw, pose, camera in zip(views, points, confidences, world_from_camera, cameras, strict=True):
        moved = first_from_world.apply(own).astype(np.float32)
        finite = np.asarray(np.isfinite(moved).all(axis=2))
        confidence = np.where(finite, 1 - 1 / np.maximum(raw, 1), 0).astype(np.float32)
        known = view.intrinsics is not None
        answers.append(
            Prediction(
                view.frame,
                np.where(finite[:, :, np.newaxis], moved, np.float32(0)),
                confidence,
                view.colors,
                submap_from_camera=first_from_world.carry(pose),
                pose_source="model",
                intrinsics=view.intrinsics if known else camera,
                intrinsics_source="camera_info" if known else "model",
            )
        )
    return answers
