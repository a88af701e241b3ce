"""Pi3X: images in no order, a pointmap and a pose for each in one frame, in about meters."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.config import Config
from spann3r_ros.models.pi3.model import ViewSetModel
from spann3r_ros.models.pi3.trunk import ViewSet
from spann3r_ros.models.pi3x.conditions import Conditions, rays_of
from spann3r_ros.models.pi3x.network import Pi3xNetwork
from spann3r_ros.models.pi3x.parameters import Pi3xParameters
from spann3r_ros.models.pointmap import View
from spann3r_ros.models.preprocess import planned
from spann3r_ros.models.transfer import to_device

logger = logging.getLogger(__name__)


class Pi3x(ViewSetModel):
    """A Pi3X network with fixed weights; see ``WindowModel``.

    What its parameters allow of intrinsics, odometry and measured depth of the frames is told to the network.
    """

    name, metric = "pi3x", True

    def __init__(self, network: Pi3xNetwork, config: Config, weights: str) -> None:
        self._told = config.of(Pi3xParameters)
        super().__init__(network, network.architecture, config, self._told, weights)
        self.network = network
        if not network.architecture.conditioned:
            logger.warning("the weights %s take images only: nothing else is told to the network", weights)

    def _seen(self, images: Tensor, views: Sequence[View]) -> ViewSet:
        conditions = self.conditions(views) if self.network.architecture.conditioned else None
        answer: ViewSet = self.network(images, conditions, self.stages)
        return answer

    def conditions(self, views: Sequence[View]) -> Conditions | None:
        """What is known of views and may be told, on the network's device; None where that is nothing."""
        height, width = views[0].colors.shape[:2]
        rays = depths = poses = None
        cameras = [view.intrinsics for view in views] if self._told.use_intrinsics else []
        if any(cameras):
            # The network counts pixels from the image's corner; views without a camera are masked.
            matrices = np.array([np.eye(3) if camera is None else camera.matrix() for camera in cameras])
            matrices[:, :2, 2] += 0.5
            rays = rays_of(self._scene(matrices), height, width)
        measured = [view.frame.depth for view in views] if self._told.use_depth else []
        if any(depth is not None for depth in measured):
            target, none = self.common_size(views[0].frame), np.zeros((height, width), np.float32)
            depths = [
                none if view.frame.depth is None else planned(view.frame, target).apply_depth(view.frame.depth)
                for view in views
            ]
        posed = [view.frame.prior is not None for view in views] if self._told.use_poses else []
        if sum(posed) > 1:
            poses = self._scene(_first_from_camera(views))
        if rays is None and depths is None and poses is None:
            return None
        return Conditions(
            rays,
            None if depths is None else self._scene(np.stack(depths)),
            poses,
            self._mask([camera is not None for camera in cameras]),
            self._mask([depth is not None for depth in measured]),
            self._mask(posed),
        )

    def _scene(self, values: NDArray[np.floating]) -> Tensor:
        """Values (N, ...) of one scene, (1, N, ...) float32 on the device."""
        return to_device(torch.from_numpy(values.astype(np.float32)), self.device)[None]

    def _mask(self, known: Sequence[bool]) -> Tensor | None:
        """(1, N) bool, or None when nothing needs to be masked."""
        return None if all(known) else torch.tensor(known, device=self.device)[None]


def _first_from_camera(views: Sequence[View]) -> NDArray[np.float64]:
    """Poses (N, 4, 4) by odometry in the frame of the first; one that is unknown is that of the nearest known view.

    It is masked, but the network's unit is the mean length of the poses.
    """
    known = [number for number, view in enumerate(views) if view.frame.prior is not None]
    poses = []
    for number in range(len(views)):
        prior = views[min(known, key=lambda other: abs(other - number))].frame.prior
        assert prior is not None
        poses.append(prior)
    first_from_odom = poses[0].inverse()
    return np.stack([(first_from_odom @ pose).matrix() for pose in poses])
