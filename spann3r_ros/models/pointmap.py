"""Pointmaps as the network gives them, and as the rest of the package takes them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spann3r_ros.errors import AnswerError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.transfer import to_host
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3


class Pointmap(NamedTuple):
    """Output of a head, float32: points (B, H, W, 3) and confidence (B, H, W), at least 1."""

    points: Tensor
    confidence: Tensor


class View(NamedTuple):
    """A frame as the network saw it: colors (h, w, 3) uint8 of the network's input, and its intrinsics there."""

    frame: Frame
    colors: NDArray[np.uint8]
    intrinsics: Intrinsics | None

    def save(self, tensors: dict[str, Tensor], prefix: str = "view") -> dict[str, Any]:
        """Add the images to the tensors of a snapshot, under names with the prefix; return the rest for its state."""
        tensors[f"{prefix}.image"] = torch.tensor(self.frame.image)
        tensors[f"{prefix}.colors"] = torch.tensor(self.colors)
        if self.frame.depth is not None:
            tensors[f"{prefix}.depth"] = torch.tensor(self.frame.depth)
        return {
            "index": self.frame.index,
            "stamp": self.frame.stamp,
            "camera": self.frame.camera,
            "camera_intrinsics": self.frame.intrinsics and dataclasses.asdict(self.frame.intrinsics),
            "intrinsics": self.intrinsics and dataclasses.asdict(self.intrinsics),
            "prior": self.frame.prior and self.frame.prior.matrix().tolist(),
        }

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any], prefix: str = "view") -> View:
        """What ``save`` stored."""
        camera = state["camera_intrinsics"] and Intrinsics(**state["camera_intrinsics"])
        prior = np.array(state["prior"]) if state.get("prior") else None
        odom_from_camera = None if prior is None else Sim3.rigid(prior[:3, :3], prior[:3, 3])
        image, depth = tensors[f"{prefix}.image"].numpy(), tensors.get(f"{prefix}.depth")
        measured = None if depth is None else depth.numpy()
        frame = Frame(state["index"], state["stamp"], state["camera"], image, camera, odom_from_camera, measured)
        intrinsics = state["intrinsics"] and Intrinsics(**state["intrinsics"])
        return cls(frame, tensors[f"{prefix}.colors"].numpy(), intrinsics)


@dataclass(frozen=True, eq=False)
class EncodedView:
    """One image after the encoder.

    Attributes:
        features: (1, P, E) tokens on the model's device.
        grid: their rows and columns.
        view: the image.
    """

    features: Tensor
    grid: tuple[int, int]
    view: View


def require_finite(*arrays: NDArray[np.float32]) -> None:
    """Raise AnswerError for numbers on the host that are not finite."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise AnswerError(
            "the network's answer is not finite",
            next_step="The frame is lost, the memory is as it was. If that happens often, set precision to fp32",
        )


def to_prediction(pointmap: Pointmap, view: View, *, final: bool) -> Prediction:
    """The first item of a batch as a Prediction on the host, in submap 0; the pose is not known yet."""
    points, confidence = to_host(pointmap.points[0], 1.0 - 1.0 / pointmap.confidence[0])
    return Prediction(
        view.frame,
        points,
        confidence,
        view.colors,
        intrinsics=view.intrinsics,
        intrinsics_source="camera_info" if view.intrinsics is not None else "",
        final=final,
    )


def fingerprint(family: str, architecture: object, samples: Sequence[nn.Module], dtype: torch.dtype) -> str:
    """A short text that tells networks apart whose memories must not be mixed, from a few of their small tensors."""
    digest = hashlib.sha256(repr(architecture).encode())
    for module in samples:
        for tensor in module.parameters():
            digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return f"{family} {digest.hexdigest()[:16]} {dtype}".replace("torch.", "")
