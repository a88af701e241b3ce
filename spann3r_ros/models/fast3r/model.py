"""Fast3R: a set of images in, the pointmaps of all in the camera of the first out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.config import Config
from spann3r_ros.errors import FrameError, GeometryError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.focal import camera_of
from spann3r_ros.models.dust3r.crop import published_size
from spann3r_ros.models.fast3r.cameras import ViewPointmaps, published_cameras
from spann3r_ros.models.fast3r.image_ids import image_ids
from spann3r_ros.models.fast3r.network import GLOBAL, HEAD_VIEWS, LOCAL, Fast3rNetwork, Stages
from spann3r_ros.models.fast3r.parameters import Fast3rParameters
from spann3r_ros.models.pixels import check_pixels
from spann3r_ros.models.pointmap import View, fingerprint, require_finite
from spann3r_ros.models.preprocess import planned, preprocess
from spann3r_ros.models.transfer import to_device, to_host
from spann3r_ros.models.window_memory import require_memory, window_bytes
from spann3r_ros.prediction import Prediction


class Fast3r:
    """A Fast3R network with fixed weights; see ``WindowModel``. The images of a call may be of different sizes.

    Args:
        network: in evaluation mode, on its device, in its precision.
        config: ``image_width``, ``image_height`` and its own are used.
        weights: where the weights came from.
    """

    name = "fast3r"
    outside = ("encoder.enc_norm.", "decoder.dec_norm.")

    def __init__(self, network: Fast3rNetwork, config: Config, weights: str) -> None:
        self.network, self.weights = network, weights
        self.settings = config.of(Fast3rParameters)
        self.metric = network.architecture.metric
        self.image_size = published_size(config, network.architecture)
        self.device = network.encoder.enc_norm.weight.device
        size = network.architecture.image_size if callable(self.image_size) else self.image_size
        require_memory(
            f"a window of {self.settings.window} frames",
            memory_of(network, size, self.settings.window),
            self.device,
            f"Lower {self.settings.GROUP}.window or image_width, or set precision to bf16",
        )
        samples = [network.encoder.enc_norm, network.decoder.dec_norm]
        self.fingerprint = fingerprint(self.name, network.architecture, samples, network.dtype)
        # Not recorded on CUDA: a window is much work for each launch.
        captured = (Captured(stage, enabled=False) for stage in network.stages)
        self.stages = dict(zip(Stages._fields, captured, strict=True))

    def answer_size(self, frame: Frame) -> tuple[int, int]:
        """See ``WindowModel.answer_size``."""
        window = planned(frame, self.image_size).window
        return window.height, window.width

    def infer(self, frames: Sequence[Frame]) -> list[Prediction]:
        """See ``WindowModel.infer``.

        Raises:
            FrameError: no frames, or one that the network cannot take.
            ConfigError: more than ``MOST_VIEWS`` frames.
            AnswerError: an answer that is not finite.
        """
        if not frames:
            raise FrameError("frames for Fast3R", got=0, expected=">= 1")
        architecture = self.network.architecture
        ids = image_ids(len(frames), self.settings.seed if architecture.random_image_ids else None)
        images = [preprocess(frame, self.image_size) for frame in frames]
        for image in images:
            check_pixels(image.pixels, architecture)
        views = [View(frame, image.colors, image.intrinsics) for frame, image in zip(frames, images, strict=True)]
        heads = self.network.heads if self._needs_local(views) else (GLOBAL,)
        with torch.inference_mode():
            pixels = [to_device(image.pixels, self.device) for image in images]
            found = self.network(pixels, ids, heads, Stages(**self.stages))
        pointmaps = [
            ViewPointmaps(*to_host(*(tensor[0] for head in (GLOBAL, heads[-1]) for tensor in found[head][view])))
            for view in range(len(frames))
        ]
        answers = [self._answer(view, maps) for view, maps in zip(views, pointmaps, strict=True)]
        return answers if self.settings.cameras == "robust" else self._located(answers, pointmaps)

    def _needs_local(self, views: Sequence[View]) -> bool:
        """Whether anything is made of the local head's pointmaps."""
        is_calibrated = all(view.intrinsics is not None for view in views)
        asks = self.settings.points == "local" or self.settings.cameras == "first_view_from_local_head"
        return LOCAL in self.network.heads and (asks or not is_calibrated)

    def _answer(self, view: View, maps: ViewPointmaps) -> Prediction:
        """The pointmap that the settings ask for, without a pose."""
        is_local = self.settings.points == "local" and self.network.architecture.local_head
        points = maps.aligned() if is_local else maps.points
        confidence = maps.local_confidence if is_local else maps.confidence
        require_finite(points, confidence)
        intrinsics, source = view.intrinsics, "camera_info"
        if intrinsics is None and self.network.architecture.local_head and self.settings.cameras == "robust":
            intrinsics, source = _seen(maps), "model"
        return Prediction(
            view.frame,
            points,
            1.0 - 1.0 / confidence,
            view.colors,
            intrinsics=intrinsics,
            intrinsics_source=source if intrinsics is not None else "",
        )

    def _located(self, answers: Sequence[Prediction], pointmaps: Sequence[ViewPointmaps]) -> list[Prediction]:
        """The answers with cameras as the demo finds them; a calibration that is known is used."""
        known = [None if answer.intrinsics is None else answer.intrinsics.matrix() for answer in answers]
        located = []
        cameras = published_cameras(pointmaps, self.settings.cameras, known)
        for answer, (focal, pose) in zip(answers, cameras, strict=True):
            if pose is not None:
                answer = dataclasses.replace(answer, submap_from_camera=pose, pose_source="pnp")
            if answer.intrinsics is None and math.isfinite(focal) and focal > 0:
                height, width = answer.confidence.shape
                camera = Intrinsics(focal, focal, width / 2, height / 2, width, height)
                answer = dataclasses.replace(answer, intrinsics=camera, intrinsics_source="model")
            located.append(answer)
        return located


def memory_of(network: Fast3rNetwork, size: tuple[int, int], frames: int) -> int:
    """About how many bytes a window of images of (height, width) in pixels takes, besides the weights."""
    a = network.architecture
    head = min(frames, HEAD_VIEWS) * size[0] * size[1]
    return window_bytes(
        tokens=frames * (size[0] // a.patch_size) * (size[1] // a.patch_size),
        width=a.decoder_width,
        dtype=network.dtype,
        mlp_ratio=a.mlp_ratio,
        kept=a.encoder_width + (len(a.hooks) - 1) * a.decoder_width,
        pixels=frames * size[0] * size[1] * (1 + a.local_head),
        map_channels=a.dpt_width // 2,
        map_pixels=head,
    )


def _seen(maps: ViewPointmaps) -> Intrinsics | None:
    """The camera that explains a view's own pointmap, or None where none does."""
    try:
        return camera_of(maps.local_points, 1.0 - 1.0 / maps.local_confidence)
    except GeometryError:
        return None
