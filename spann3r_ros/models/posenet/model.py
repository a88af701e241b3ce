"""PoseNet as a relocalizer."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.errors import AnswerError
from spann3r_ros.frame import Frame
from spann3r_ros.models.posenet.crop import central_corner, crops, resized
from spann3r_ros.models.posenet.network import PoseAnswer, PosenetNetwork
from spann3r_ros.sim3 import Sim3


class Posenet:
    """Tells where in the scene of its weights an image was taken; see ``Relocalizer``.

    Args:
        network: with loaded weights.
        weights: where they came from.
    """

    name = "posenet"
    outside = ("mean_image", "pose3.fc_xyz.weight")

    def __init__(self, network: PosenetNetwork, weights: str) -> None:
        self.network, self.weights = network, weights
        self.metric = network.architecture.metric
        self.device = network.mean_image.device
        # The mean is subtracted where the crop is made, on the host.
        self._mean_image = network.mean_image.float().cpu()
        sample = network.pose3.fc_xyz.weight.detach().float().cpu().numpy().tobytes()
        self._network = Captured(self._answered, enabled=False)
        self.stages = {"network": self._network}
        self.fingerprint = hashlib.sha256(repr(network.architecture).encode() + sample).hexdigest()[:16]

    @torch.inference_mode()
    def locate(self, frame: Frame) -> Sim3:
        """See ``Relocalizer.locate``; the central crop of the image is looked at."""
        image = resized(frame.image, self.network.architecture)
        corner = central_corner(image.shape[1], image.shape[0], self.network.architecture)
        answer = PoseAnswer(*self._network(crops(image, [corner], self._mean_image).to(self.device)))
        return world_from_camera(answer, self.network.architecture.rotation)

    def _answered(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        answer: PoseAnswer = self.network(pixels)
        return answer.position, answer.quaternion


def world_from_camera(answer: PoseAnswer, rotation: str) -> Sim3:
    """The first pose of an answer as a rigid transform; AnswerError for numbers that are not finite or no rotation."""
    position = answer.position[0].double().cpu().numpy()
    w, x, y, z = answer.quaternion[0].double().cpu().numpy()
    length = float(np.linalg.norm([w, x, y, z]))
    if not (np.isfinite(position).all() and np.isfinite(length) and length > 0):
        raise AnswerError(
            "answer of PoseNet", got=f"position {position}, quaternion {[w, x, y, z]}", expected="finite numbers"
        )
    turned = Rotation.from_quat([x, y, z, w]).as_matrix()
    return Sim3.rigid(turned if rotation == "world_from_camera" else turned.T, position)
