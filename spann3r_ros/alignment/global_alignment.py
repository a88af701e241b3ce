"""Global alignment of pairs of pointmaps (DUSt3R, section 3.4): cameras and depth maps that all pairs agree on.

Each pair speaks in a unit and a frame of its own, so it gets a similarity of its own; each image gets a camera and a
depth map. Both are moved until the pairs' points, brought into the world, fall onto the depth maps' points.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.alignment.camera_estimates import align_cameras, camera_of_points, pixel_places
from spann3r_ros.alignment.edge_predictions import EdgePrediction, largest_confidences, sizes_of
from spann3r_ros.alignment.spanning_tree import ChainedScene, chained, registered
from spann3r_ros.alignment.transforms import (
    quaternion_from_rotation,
    rigid_matrix,
    rotation_from_quaternion,
    signed_exp,
    signed_log,
)
from spann3r_ros.errors import ConfigError
from spann3r_ros.sim3 import Sim3

logger = logging.getLogger(__name__)

PRINCIPAL_POINT_UNIT = 10.0
"""Pixels to a unit of the parameter."""

CHUNK = 1 << 22
"""Pixels of pairs that are compared at once."""

WEIGHTS = ("log", "sqrt", "m1", "id", "none")


@dataclass(frozen=True)
class AlignmentOptions:
    """How pairs are weighed and what may move; the defaults are the published ones.

    Attributes:
        distance: ``l1`` of two points: how far they lie apart; ``l2``: the square of that.
        weight: what a confidence c counts: ``log`` c, ``sqrt`` c, ``m1``: c - 1, ``id`` or ``none``: c.
        min_confidence: of a pixel that helps to find a camera by PnP.
        base_scale: geometric mean of the pairs' scales, which keeps the scene from shrinking.
        pairwise_break, focal_break: units of the parameters; larger ones move less.
        optimize_principal_point: else it is the middle of the image.
        adapt_pairs: whether a pair may be stretched along the depth.
        two_focals: fx and fy apart.
        mean_of_images: average over the pixels of each image before those of a pair; else all pixels count alike.
        pnp_iterations: of RANSAC.
        as_published: with what the publication does by mistake: focal lengths from another image's points, and in
            ``start_from_known_poses`` the first image's focal length for the second image.
    """

    distance: str = "l1"
    weight: str = "log"
    min_confidence: float = 3.0
    base_scale: float = 0.5
    pairwise_break: float = 20.0
    focal_break: float = 20.0
    optimize_principal_point: bool = False
    adapt_pairs: bool = False
    two_focals: bool = False
    mean_of_images: bool = False
    pnp_iterations: int = 10
    as_published: bool = False

    def __post_init__(self) -> None:
        if self.distance not in ("l1", "l2"):
            raise ConfigError("distance of the alignment", got=repr(self.distance), expected="l1 | l2")
        if self.weight not in WEIGHTS:
            raise ConfigError("weight of the alignment", got=repr(self.weight), expected=" | ".join(WEIGHTS))


@dataclass(frozen=True, eq=False)
class KnownCameras:
    """What is known of some images beforehand, and then stays as it is.

    Attributes:
        poses: (4, 4) world_from_camera by image.
        focals: pixels by image.
        principal_points: (x, y) pixels by image.
    """

    poses: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    focals: Mapping[int, float] = field(default_factory=dict)
    principal_points: Mapping[int, tuple[float, float]] = field(default_factory=dict)


class GlobalAlignment:
    """A scene of n images and E ordered pairs whose parameters move; A is the area of the largest image.

    Args:
        predictions: of a connected graph over images 0 .. n - 1.
        options: see there.
        known: what stays.
        device: where the optimization runs; all predictions are copied to it, in float32.

    Attributes:
        sizes: (h, w) of each image.
        confidences: (h, w) float32 of each image: the largest that any pair gives.
        pairwise: (E, 8) quaternion (x, y, z, w), signed log of the translation over the scale, log scale.
        adaptors: (E, 2) stretch across and along the depth.
        poses: (n, 7) quaternion and signed log of the translation, world_from_camera.
        depths: (n, A) log depth in reading order, padded.
        focals: (n, 1), or (n, 2) with ``two_focals``: ``focal_break`` x log pixels.
        principal: (n, 2) from the middle of the image, in units of ten pixels.

    Raises:
        ConfigError: an image in no pair, or one of two sizes.
    """

    def __init__(
        self,
        predictions: Sequence[EdgePrediction],
        options: AlignmentOptions | None = None,
        known: KnownCameras | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.predictions, self.options, self.known = (
            list(predictions),
            options or AlignmentOptions(),
            known or KnownCameras(),
        )
        self.device = device or torch.device("cpu")
        self.sizes = sizes_of(self.predictions)
        self.confidences = largest_confidences(self.predictions, self.sizes)
        self.normalized = len(self.known.poses) < 2
        self._stack()
        self._begin()

    def _stack(self) -> None:
        """All predictions as padded tensors."""
        areas = [height * width for height, width in self.sizes]
        self.area, edges = max(areas), [prediction.edge for prediction in self.predictions]
        self._i, self._j = (torch.tensor([edge[side] for edge in edges], device=self.device) for side in (0, 1))
        options, found = self.options, self.predictions
        self._points = [
            _padded([getattr(p, f"{side}_points").reshape(-1, 3) for p in found], self.area, self.device)
            for side in ("first", "second")
        ]
        self._weights = [
            _padded(
                [_weight(getattr(p, f"{side}_confidence"), options.weight).ravel() for p in found],
                self.area,
                self.device,
            )
            for side in ("first", "second")
        ]
        own = [torch.tensor([areas[edge[side]] for edge in edges], device=self.device) for side in (0, 1)]
        # What a pixel of each edge counts, so that the loss is a plain sum.
        self._share = [
            1.0 / (pixels.float() * len(edges))
            if options.mean_of_images
            else 1.0 / pixels.sum().float().expand(len(edges))
            for pixels in own
        ]
        self._pixels = _padded([pixel_places(*size).reshape(-1, 2) for size in self.sizes], self.area, self.device)
        self._middles = torch.tensor([(w / 2, h / 2) for h, w in self.sizes], device=self.device)

    def _begin(self) -> None:
        """Parameters before any start: no motion, depth 1, and what is known."""
        count, edges, device = len(self.sizes), len(self.predictions), self.device
        self.pairwise = torch.zeros(edges, 8, device=device)
        self.pairwise[:, 3] = 1.0
        self.adaptors = torch.zeros(edges, 2, device=device)
        self.poses = torch.zeros(count, 7, device=device)
        self.poses[:, 3] = 1.0
        self.depths = torch.zeros(count, self.area, device=device)
        focals = [self.known.focals.get(image, float(max(self.sizes[image]))) for image in range(count)]
        self.focals = self.options.focal_break * torch.tensor(focals, device=device).log()[:, None]
        self.focals = self.focals.repeat(1, 1 + self.options.two_focals)
        self.principal = torch.zeros(count, 2, device=device)
        for image, center in self.known.principal_points.items():
            offset = torch.tensor(center, device=device) - self._middles[image]
            self.principal[image] = offset / PRINCIPAL_POINT_UNIT
        for image, pose in self.known.poses.items():
            self.poses[image] = self._pose_parameters(pose)

    def _pose_parameters(self, pose: NDArray[np.float64]) -> Tensor:
        quaternion = torch.from_numpy(quaternion_from_rotation(pose[:3, :3]))
        return torch.cat([quaternion, signed_log(torch.from_numpy(pose[:3, 3].copy()))]).float().to(self.device)

    # --- where it begins ---

    def start_from_tree(self) -> ChainedScene:
        """Begin with the pairs chained along their spanning tree; returns that chain, before any scaling.

        Raises:
            ConfigError: exactly one known pose, which does not tell the scale.
        """
        options, known = self.options, self.known.poses
        if len(known) == 1:
            raise ConfigError("known poses of a global alignment", got=1, expected="none, or at least two")
        scene = chained(
            self.predictions,
            self.confidences,
            min_confidence=options.min_confidence,
            pnp_iterations=options.pnp_iterations,
            stale_focals=options.as_published,
        )
        poses, points = scene.poses.copy(), list(scene.points)
        if known:
            images = sorted(known)
            world_from_chain = align_cameras(poses[images], np.stack([known[image] for image in images]))
            poses = np.stack([world_from_chain.carry(Sim3.from_matrix(pose)).matrix() for pose in poses])
            points = [world_from_chain.apply(each) for each in points]
        self._start_pairs([registered(p.first_points, points[p.edge[0]], p.first_confidence) for p in self.predictions])
        grow = float(self._normalizing())
        poses[:, :3, 3] *= grow
        for image, pose in enumerate(poses):
            camera_from_world = Sim3.from_matrix(pose).inverse()
            self._start_depth(image, camera_from_world.apply(grow * points[image])[..., 2])
            if image not in known:
                self.poses[image] = self._pose_parameters(pose)
            if image not in self.known.focals:
                self.focals[image] = options.focal_break * math.log(self._plausible_focal(image, scene.focals[image]))
        return scene

    def _plausible_focal(self, image: int, focal: float) -> float:
        """The focal length itself, or the long side of the image where its points told none that is positive."""
        if math.isfinite(focal) and focal > 0:
            return float(focal)
        begin = float(max(self.sizes[image]))
        logger.warning("the points of image %d tell no focal length (%g px); it begins with %g px", image, focal, begin)
        return begin

    def start_from_known_poses(self) -> None:
        """Begin with all cameras known: the pairs' similarities and the depth maps follow.

        Raises:
            ConfigError: an image without a known pose or focal length.
        """
        images = set(range(len(self.sizes)))
        if set(self.known.poses) != images or set(self.known.focals) != images:
            missing = sorted(images - (set(self.known.poses) & set(self.known.focals)))
            raise ConfigError(
                "images of which pose and focal length are known", got=f"all but {missing}", expected="all"
            )
        best: dict[int, tuple[float, Sim3, EdgePrediction]] = {}
        pairs = []
        for prediction in self.predictions:
            i, j = prediction.edge
            source = i if self.options.as_published else j
            confidence = prediction.first_confidence if self.options.as_published else prediction.second_confidence
            found = camera_of_points(
                prediction.second_points,
                self.known.focals[source],
                confidence > min(self.options.min_confidence, float(confidence.min()) - 0.1),
                center=self.known.principal_points.get(source),
                iterations=self.options.pnp_iterations,
            )
            second = np.eye(4) if found is None else found.world_from_camera
            target = np.stack([self.known.poses[i], self.known.poses[j]])
            world_from_pair = align_cameras(np.stack([np.eye(4), second]), target)
            pairs.append(world_from_pair)
            score = float(prediction.first_confidence.mean())
            if i not in best or score > best[i][0]:
                best[i] = (score, world_from_pair, prediction)
        self._start_pairs(pairs)
        for image, (_, world_from_pair, prediction) in best.items():
            self._start_depth(image, world_from_pair.scale * prediction.first_points[..., 2].astype(np.float64))

    def _start_pairs(self, world_from_pairs: Sequence[Sim3]) -> None:
        for number, similarity in enumerate(world_from_pairs):
            translation = signed_log(torch.from_numpy(similarity.translation / similarity.scale))
            quaternion = torch.from_numpy(quaternion_from_rotation(similarity.rotation))
            scale = torch.tensor([math.log(similarity.scale)], dtype=torch.float64)
            self.pairwise[number] = torch.cat([quaternion, translation, scale]).float()

    def _start_depth(self, image: int, depth: NDArray[np.float64]) -> None:
        """Log depth cannot say that a point lies behind the camera: such a pixel begins at depth 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm = np.log(depth).ravel()
        logarithm = np.where(np.isfinite(logarithm), logarithm, 0.0)
        self.depths[image] = 0.0
        self.depths[image, : logarithm.size] = torch.from_numpy(logarithm).float().to(self.device)

    # --- what the parameters say ---

    def _normalizing(self) -> Tensor:
        """Factor that makes ``base_scale`` the geometric mean of the pairs' scales; 1 where known poses fix it."""
        if not self.normalized:
            return torch.ones((), device=self.device)
        return (math.log(self.options.base_scale) - self.pairwise[:, 7].mean()).exp()

    def pair_scales(self) -> Tensor:
        """(E,) of the similarities world_from_pair."""
        return self.pairwise[:, 7].exp() * self._normalizing()

    def pair_transforms(self) -> tuple[Tensor, Tensor]:
        """(E, 3, 3) scaled rotations and (E, 3) translations, world_from_pair."""
        scale = self.pair_scales()
        rotation = rotation_from_quaternion(self.pairwise[:, :4])
        return scale[:, None, None] * rotation, scale[:, None] * signed_exp(self.pairwise[:, 4:7])

    def _stretch(self) -> Tensor:
        """(E, 3) factors of the pairs' coordinates."""
        stretch = self.adaptors[:, [0, 0, 1]]
        if self.normalized:
            stretch = stretch - stretch.mean(dim=1, keepdim=True)
        return (stretch / self.options.pairwise_break).exp()

    def camera_poses(self) -> Tensor:
        """(n, 4, 4) world_from_camera."""
        offsets = self.poses[:, 4:]
        offsets = torch.where(offsets == 0, 0.0, offsets)  # the camera that the chain begins with stays at the origin
        return rigid_matrix(rotation_from_quaternion(self.poses[:, :4]), signed_exp(offsets))

    def focal_lengths(self) -> Tensor:
        """(n, 1) or (n, 2) pixels."""
        return (self.focals / self.options.focal_break).exp()

    def principal_points(self) -> Tensor:
        """(n, 2) pixels."""
        return self._middles + PRINCIPAL_POINT_UNIT * self.principal

    def intrinsics(self) -> Tensor:
        """(n, 3, 3)."""
        focals, matrix = self.focal_lengths(), torch.zeros(len(self.sizes), 3, 3, device=self.device)
        matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = focals[:, 0], focals[:, -1], 1.0
        matrix[:, :2, 2] = self.principal_points()
        return matrix

    def depth_maps(self) -> list[Tensor]:
        """(h, w) of each image."""
        return [self.depths[k, : h * w].exp().view(h, w) for k, (h, w) in enumerate(self.sizes)]

    def point_maps(self) -> list[Tensor]:
        """(h, w, 3) of each image in the world."""
        points = self._world_points()
        return [points[k, : h * w].view(h, w, 3) for k, (h, w) in enumerate(self.sizes)]

    def _world_points(self) -> Tensor:
        """(n, A, 3)."""
        depth, focals = self.depths.exp(), self.focal_lengths()[:, None]
        camera = torch.cat(
            [depth[..., None] * (self._pixels - self.principal_points()[:, None]) / focals, depth[..., None]], -1
        )
        pose = self.camera_poses()
        return camera @ pose[:, :3, :3].transpose(1, 2) + pose[:, None, :3, 3]

    # --- how it moves ---

    def parameters(self) -> list[Tensor]:
        """What an optimizer moves; gradients of what is known are zero, so it stays."""
        moving = [self.pairwise, self.depths, self.poses, self.focals]
        if self.options.adapt_pairs:
            moving.append(self.adaptors)
        if self.options.optimize_principal_point:
            moving.append(self.principal)
        for tensor in moving:
            tensor.requires_grad_()
        return moving

    def backward(self) -> float:
        """The loss, and its gradient into ``parameters``; memory is that of ``CHUNK`` pixels, whatever the graph."""
        points = self._world_points()
        reached = points.detach().requires_grad_()
        total, step = torch.zeros((), device=self.device), max(1, CHUNK // self.area)
        for begin in range(0, len(self._i), step):
            part = self._distance(reached, slice(begin, begin + step))
            part.backward()  # type: ignore[no-untyped-call]
            total += part.detach()
        assert reached.grad is not None
        points.backward(reached.grad)  # type: ignore[no-untyped-call]
        for tensor, known in (
            (self.poses, self.known.poses),
            (self.focals, self.known.focals),
            (self.principal, self.known.principal_points),
        ):
            if tensor.grad is not None and known:
                tensor.grad[list(known)] = 0.0
        return float(total)

    def _distance(self, world: Tensor, edges: slice) -> Tensor:
        """Weighted distance between the images' points (n, A, 3) and those of some edges."""
        rotation, translation = (each[edges] for each in self.pair_transforms())
        stretched = self._stretch()[edges] if self.options.adapt_pairs else None
        total = torch.zeros((), device=self.device)
        for side, images in enumerate((self._i, self._j)):
            points = self._points[side][edges]
            if stretched is not None:
                points = stretched[:, None] * points
            apart = world[images[edges]] - (points @ rotation.transpose(1, 2) + translation[:, None])
            distance = apart.norm(dim=-1) if self.options.distance == "l1" else apart.square().sum(-1)
            total = total + (self._share[side][edges] * (self._weights[side][edges] * distance).sum(dim=1)).sum()
        return total


def _weight(confidence: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    if kind == "log":
        return np.log(confidence)
    if kind == "sqrt":
        return np.sqrt(confidence)
    return confidence - np.float32(1) if kind == "m1" else confidence


def _padded(arrays: Sequence[NDArray[np.float32]], length: int, device: torch.device) -> Tensor:
    """(count, length, ...) float32 with zeros behind each array."""
    stacked = torch.zeros((len(arrays), length, *arrays[0].shape[1:]), device=device)
    for number, array in enumerate(arrays):
        stacked[number, : len(array)] = torch.from_numpy(np.ascontiguousarray(array))
    return stacked
