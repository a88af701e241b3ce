"""Sparse global alignment of matches (MASt3R-SfM, sections 3.3 and 3.4): cameras and the depths of a few anchors.

First the matched points of two images are brought together in space, then each is projected into the other image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from spann3r_ros.alignment.canonical_view import CanonicalView
from spann3r_ros.alignment.descent import descend
from spann3r_ros.alignment.kinematic_tree import KinematicTree, clustered_scores, kinematic_tree, require_matched
from spann3r_ros.alignment.matched_pair import MatchedPair
from spann3r_ros.alignment.transforms import rigid_matrix, rotation_from_quaternion
from spann3r_ros.errors import ConfigError

COARSE_EXPONENT, FINE_EXPONENT, FALLBACK_EXPONENT = 1.5, 0.5, 1.1
FALLBACK_WEIGHT = 0.01
"""Of pairs without a match that is believed, which are held together by their pointmaps."""

LEAST_DEPTH = 1e-3
PIXEL_BOUNDS = (-1000.0, 2000.0)
"""Where a projection may fall; beyond it has no gradient."""


@dataclass(frozen=True)
class SparseOptions:
    """How matches are aligned; the defaults are the published ones.

    Attributes:
        coarse_rate, fine_rate: first step of each stage.
        coarse_iterations, fine_iterations: of each stage; 0 takes the start as it is.
        tree: ``clusters`` (Ward's linkage), or ``scores`` (spanning tree of the numbers of matches).
        least_match: a pair matches well when its surest match is surer than this.
        optimize_principal_point, optimize_depth: in the fine stage.
        freeze_root: the root's pose is a matter of choice; as published it may drift.
    """

    coarse_rate: float = 0.07
    coarse_iterations: int = 300
    fine_rate: float = 0.01
    fine_iterations: int = 300
    tree: str = "clusters"
    least_match: float = 5.0
    optimize_principal_point: bool = True
    optimize_depth: bool = True
    freeze_root: bool = True

    def __post_init__(self) -> None:
        if self.tree not in ("clusters", "scores"):
            raise ConfigError("tree of a sparse alignment", got=repr(self.tree), expected="clusters | scores")


@dataclass(eq=False)
class CondensedImage:
    """The matched pixels of one image, neighbor by neighbor.

    Attributes:
        pixels: (N, 2) int64 (x, y).
        anchors: (N,) cell of each.
        offsets: (N,) depth of each over that of its cell's center.
        slices: of each neighbor.
    """

    pixels: Tensor
    anchors: Tensor
    offsets: Tensor
    slices: dict[int, slice] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SparseCameras:
    """Cameras and anchors as the parameters say.

    Attributes:
        intrinsics: (n, 3, 3).
        poses: (n, 4, 4) world_from_camera.
        depths: of the anchors of each image, in reading order.
    """

    intrinsics: Tensor
    poses: Tensor
    depths: list[Tensor]

    def in_root(self, root: int) -> Tensor:
        """(n, 4, 4) root_from_camera."""
        root_from_world: Tensor = torch.linalg.inv(self.poses[root])
        return root_from_world @ self.poses


class SparseAlignment:
    """A scene of n images whose parameters move.

    Args:
        views: what all pairs say about each image.
        pairs: each unordered pair once.
        options: see there.
        names: of the images, for an error.

    Attributes:
        tree: who hangs on whom.
        condensed: matched pixels of each image.
        principal: (2,) for each image, relative to its size.
        log_focals, log_sizes: (1,) and () for each image.
        quaternions, translations: (4,) and (3,) for each image: parent_from_image of points on the optical axis.
        core: (cells,) for each image, depth over its median.
        losses, rates: of all iterations so far.

    Raises:
        ConfigError: images that share no match with the others.
    """

    def __init__(
        self,
        views: Sequence[CanonicalView],
        pairs: Sequence[MatchedPair],
        options: SparseOptions | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.views, self.pairs, self.options = list(views), list(pairs), options or SparseOptions()
        self.device = self.views[0].points.device
        self.scores = np.zeros((len(views), len(views)))
        for pair in pairs:
            self.scores[pair.edge] = self.scores[pair.edge[::-1]] = len(pair.matches)
        cells = [view.core_depth.numel() for view in views]
        names = names or [f"image {number}" for number in range(len(views))]
        self.links = clustered_scores(self.scores, cells) if self.options.tree == "clusters" else self.scores
        require_matched(self.scores, names)
        self.tree: KinematicTree = kinematic_tree(self.links, names)
        self._condense()
        self._begin()
        self.losses: list[float] = []
        self.rates: list[float] = []

    def _condense(self) -> None:
        """Matched pixels of each image with their anchors, and which of them belong to which pair."""
        found: list[list[tuple[int, Tensor]]] = [[] for _ in self.views]
        for pair in self.pairs:
            i, j = pair.edge
            found[i].append((j, pair.matches.first))
            found[j].append((i, pair.matches.second))
        self.condensed = []
        for view, neighbors in zip(self.views, found, strict=True):
            pixels = torch.cat([pixels for _, pixels in neighbors])
            image = CondensedImage(pixels, *view.anchors(pixels))
            begin = 0
            for neighbor, own in neighbors:
                image.slices[neighbor] = slice(begin, begin + len(own))
                begin += len(own)
            self.condensed.append(image)
        believed = [self._is_believed(pair) for pair in self.pairs]
        self._matching = [pair for pair, sure in zip(self.pairs, believed, strict=True) if sure]
        self._fallbacks = [
            self._fallback(pair, forth)
            for pair, sure in zip(self.pairs, believed, strict=True)
            if not sure
            for forth in (True, False)
        ]

    def _is_believed(self, pair: MatchedPair) -> bool:
        confidence = pair.matches.confidence
        return confidence is not None and len(confidence) > 0 and float(confidence.max()) > self.options.least_match

    def _fallback(self, pair: MatchedPair, forth: bool) -> tuple[int, int, Tensor, Tensor]:
        """(image, camera): its matched pixels' points in that camera as the pair says, and their confidence."""
        image, camera = pair.edge if forth else pair.edge[::-1]
        points, confidence = pair.first_in_second if forth else pair.second_in_first
        anchors = self.condensed[image].anchors
        return image, camera, points[anchors], confidence[anchors]

    def _begin(self) -> None:
        """Parameters: canonical focal lengths and depths, all cameras in one place."""
        device = self.device
        self._sizes = torch.tensor([(view.size[1], view.size[0]) for view in self.views], device=device).float()
        self._focals = torch.tensor([view.focal for view in self.views], device=device)
        self._medians = torch.stack([view.core_depth.median() for view in self.views])  # the lower of two middle ones
        self.principal = [torch.full((2,), 0.5, device=device) for _ in self.views]
        self.log_focals = [focal.log()[None] for focal in self._focals]
        self.quaternions = [torch.tensor([0.0, 0.0, 0.0, 1.0], device=device) for _ in self.views]
        self.translations = [torch.zeros(3, device=device) for _ in self.views]
        self.log_sizes = [torch.zeros((), device=device) for _ in self.views]
        self.core = [(v.core_depth / m).flatten() for v, m in zip(self.views, self._medians, strict=True)]

    # --- from parameters to cameras ---

    def cameras(self) -> SparseCameras:
        """Cameras and anchors of the parameters; the smallest image's size is 1, which fixes the scale."""
        principal, sizes = torch.stack(self.principal), torch.stack(self.log_sizes).exp()
        diagonal = self._sizes.norm(dim=1)
        focals = torch.cat(self.log_focals).exp()
        focals = torch.minimum(torch.maximum(focals, 0.25 * diagonal), 10 * diagonal)
        grow = 1 / sizes.min()
        intrinsics = torch.zeros(len(self.views), 3, 3, device=self.device)
        intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focals
        intrinsics[:, :2, 2], intrinsics[:, 2, 2] = principal * self._sizes, 1.0
        plane = sizes * self._medians * focals / self._focals  # distance to the plane of the median depth
        ray = torch.cat([self._sizes / focals[:, None] * (0.5 - principal), torch.ones_like(focals)[:, None]], dim=1)
        chain = self._chained()
        rotation = chain[:, :3, :3]
        center = chain[:, :3, 3] - (rotation @ (plane[:, None] * ray)[..., None])[..., 0]
        spread = self._medians * sizes
        depths = [grow * (plane[k] + (core - 1) * spread[k]) for k, core in enumerate(self.core)]
        return SparseCameras(intrinsics, rigid_matrix(rotation, grow * center), depths)

    def _chained(self) -> Tensor:
        """(n, 4, 4): each image's transform applied to its parent's."""
        own = rigid_matrix(rotation_from_quaternion(torch.stack(self.quaternions)), torch.stack(self.translations))
        placed: dict[int, Tensor] = {self.tree.root: own[self.tree.root]}
        for parent, child in self.tree.edges:
            placed[child] = placed[parent] @ own[child]
        return torch.stack([placed[image] for image in range(len(self.views))])

    def world_points(
        self, cameras: SparseCameras, image: int, pixels: Tensor, anchors: Tensor, offsets: Tensor
    ) -> Tensor:
        """(N, 3) of pixels (N, 2) of an image with their anchors and offsets."""
        return self._placed(cameras, image, pixels, self._depths(cameras, image, anchors, offsets))

    def _depths(self, cameras: SparseCameras, image: int, anchors: Tensor, offsets: Tensor) -> Tensor:
        focal = cameras.intrinsics[image, 0, 0]
        return cameras.depths[image][anchors] * (1 + (offsets - 1) * self._focals[image] / focal)

    def _placed(self, cameras: SparseCameras, image: int, pixels: Tensor, depth: Tensor) -> Tensor:
        matrix, pose = cameras.intrinsics[image], cameras.poses[image]
        rays = (pixels - matrix[:2, 2]) / matrix[0, 0]
        camera = depth[:, None] * torch.cat([rays, torch.ones_like(depth)[:, None]], dim=1)
        return camera @ pose[:3, :3].T + pose[:3, 3]

    def matched_points(self, cameras: SparseCameras) -> list[Tensor]:
        """(N, 3) of the matched pixels of each image, in the world."""
        return [
            self.world_points(cameras, image, own.pixels, own.anchors, own.offsets)
            for image, own in enumerate(self.condensed)
        ]

    def dense(self, cameras: SparseCameras) -> tuple[list[Tensor], list[Tensor]]:
        """Points (H, W, 3) in the world and depths (H, W) of every pixel of each image."""
        points, depths = [], []
        for image, view in enumerate(self.views):
            height, width = view.size
            y, x = torch.meshgrid(*(torch.arange(side, device=self.device) for side in view.size), indexing="ij")
            pixels = torch.stack([x.flatten(), y.flatten()], dim=1)
            depth = self._depths(cameras, image, *view.anchors(pixels))
            points.append(self._placed(cameras, image, pixels, depth).view(height, width, 3))
            depths.append(depth.view(height, width))
        return points, depths

    # --- losses ---

    def coarse_loss(self, cameras: SparseCameras) -> Tensor:
        """Weighted distance of matched points in space."""
        points = self.matched_points(cameras)
        total, weight = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for pair in self._matching:
            i, j = pair.edge
            confidence = pair.sureness
            apart = points[i][self.condensed[i].slices[j]] - points[j][self.condensed[j].slices[i]]
            total = total + (confidence * bent(apart, COARSE_EXPONENT)).sum()
            weight = weight + confidence.sum()
        return self._with_fallbacks(cameras, points, total / weight if self._matching else total)

    def fine_loss(self, cameras: SparseCameras) -> Tensor:
        """Weighted distance in pixels of matched points, each projected into the other image."""
        points = self.matched_points(cameras)
        camera_from_world = torch.linalg.inv(cameras.poses)
        total, weight = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for pair in self._matching:
            confidence = pair.sureness
            for i, j in (pair.edge, pair.edge[::-1]):
                own, other = self.condensed[i], points[j][self.condensed[j].slices[i]]
                camera = other @ camera_from_world[i, :3, :3].T + camera_from_world[i, :3, 3]
                projected = camera @ cameras.intrinsics[i].T
                pixel = (projected[:, :2] / projected[:, 2:].clamp(min=LEAST_DEPTH)).clamp(*PIXEL_BOUNDS)
                total = total + (confidence * bent(own.pixels[own.slices[j]] - pixel, FINE_EXPONENT)).sum()
                weight = weight + confidence.sum()
        return self._with_fallbacks(cameras, points, total / weight if self._matching else total)

    def _with_fallbacks(self, cameras: SparseCameras, points: Sequence[Tensor], loss: Tensor) -> Tensor:
        if not self._fallbacks:
            return loss
        total, weight = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for image, camera, target, confidence in self._fallbacks:
            pose = cameras.poses[camera]
            apart = points[image] - (target @ pose[:3, :3].T + pose[:3, 3])
            total = total + (confidence * bent(apart, FALLBACK_EXPONENT)).sum()
            weight = weight + confidence.sum()
        return loss + FALLBACK_WEIGHT * total / weight

    # --- how it moves ---

    def optimize(
        self,
        stepped: Callable[[], None] = lambda: None,
        began: Callable[[str, Mapping[str, Sequence[Tensor]]], None] = lambda _stage, _parameters: None,
    ) -> tuple[SparseCameras, SparseCameras]:
        """Both stages; returns the cameras of each, as they were before the last step, as published.

        Args:
            stepped: called after each iteration.
            began: called with the name of a stage and its parameters once they have their first gradients.
        """
        options = self.options
        motion = {"quat": self.quaternions, "trans": self.translations, "log_size": self.log_sizes}
        coarse = self._stage(
            "coarse", motion, self.coarse_loss, options.coarse_iterations, options.coarse_rate, stepped, began
        )
        everything = motion | {"log_focal": self.log_focals}
        if options.optimize_principal_point:
            everything |= {"pp": self.principal}
        if options.optimize_depth:
            everything |= {"core_depth": self.core}
        fine = self._stage(
            "fine", everything, self.fine_loss, options.fine_iterations, options.fine_rate, stepped, began
        )
        return coarse, fine

    def _stage(
        self,
        name: str,
        parameters: Mapping[str, Sequence[Tensor]],
        loss_of: Callable[[SparseCameras], Tensor],
        iterations: int,
        rate: float,
        stepped: Callable[[], None],
        began: Callable[[str, Mapping[str, Sequence[Tensor]]], None],
    ) -> SparseCameras:
        moving = [tensor.requires_grad_() for tensors in parameters.values() for tensor in tensors]
        last: list[SparseCameras] = []
        first = True

        def backward() -> float:
            nonlocal first
            cameras = self.cameras()
            loss = loss_of(cameras)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            if self.options.freeze_root:
                for tensor in (self.quaternions[self.tree.root], self.translations[self.tree.root]):
                    if tensor.grad is not None:
                        tensor.grad.zero_()
            if first:
                began(name, parameters)
                first = False
            last[:] = [cameras]
            return float(loss.detach())

        def normalize() -> None:
            with torch.no_grad():
                for quaternion in self.quaternions:
                    quaternion /= quaternion.norm()
            stepped()

        losses, rates = descend(moving, backward, iterations, rate=rate, schedule="cosine", stepped=normalize)
        self.losses += losses
        self.rates += rates
        for tensor in moving:
            tensor.requires_grad_(False)
            tensor.grad = None
        if not last:
            last.append(self.cameras())
        cameras = last[0]
        return SparseCameras(
            cameras.intrinsics.detach(), cameras.poses.detach(), [depth.detach() for depth in cameras.depths]
        )


def bent(apart: Tensor, exponent: float) -> Tensor:
    """(N,) from differences (N, D): (length + c)^g - c^g with slope 1 at zero; g < 1 bends outliers down."""
    length: Tensor = apart.norm(dim=-1)
    if exponent == 1:
        return length
    shift = (1 / exponent) ** (1 / (exponent - 1))
    lifted: Tensor = torch.pow(length + shift, exponent)
    return lifted - float(shift**exponent)
