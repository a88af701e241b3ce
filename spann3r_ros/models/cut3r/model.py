"""CUT3R as a streaming model: one frame in, its pointmap and its camera's pose out at once (paper, section 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.config import Config
from spann3r_ros.errors import AnswerError, GeometryError, MemoryMismatchError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.focal import camera_of
from spann3r_ros.memory.recurrent import RecurrentState
from spann3r_ros.models.cut3r.heads import placed_points
from spann3r_ros.models.cut3r.memory import Cut3rMemory
from spann3r_ros.models.cut3r.network import STATE_TENSORS, Cut3rNetwork, Interaction
from spann3r_ros.models.cut3r.parameters import Cut3rParameters
from spann3r_ros.models.cut3r.ray_map import ray_map, viewer_camera
from spann3r_ros.models.dust3r.crop import published_size
from spann3r_ros.models.dust3r.network import Grid
from spann3r_ros.models.pixels import check_pixels
from spann3r_ros.models.pointmap import Pointmap, View, fingerprint, require_finite, to_prediction
from spann3r_ros.models.preprocess import looked_up, preprocess
from spann3r_ros.models.transfer import to_device, to_host
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3


@dataclass(frozen=True, eq=False)
class Seen:
    """What one step finds out about a frame; batch first, on the device.

    Attributes:
        interaction: of the frame and the state.
        pose: (B, 7) ``submap_from_camera``: translation, unit quaternion (w, x, y, z).
        own: the pointmap in the camera's own frame.
        state: after the frame.
        features: (B, P, E) of the frame, from the encoder.
    """

    interaction: Interaction
    pose: Tensor
    own: Pointmap
    state: RecurrentState
    features: Tensor


@dataclass(frozen=True, eq=False)
class ImaginedView:
    """What the state says that a camera would see.

    Attributes:
        points: (h, w, 3) float32 in the submap's frame.
        confidence: (h, w) float32 in [0, 1].
        colors: (h, w, 3) uint8 RGB.
    """

    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    colors: NDArray[np.uint8]


class Cut3r:
    """A CUT3R network with fixed weights; see ``StreamingModel``.

    Where no image size is asked for, images of any size and orientation may follow each other.

    Args:
        network: in evaluation mode, on its device, in its precision.
        config: ``output``, ``image_width``, ``image_height`` and its own; live ones may change between steps.
        weights: where the weights came from.
    """

    name = "cut3r"
    outside = ("enc_norm.", "dec_norm.", "dec_norm_state.", "pose_token", *STATE_TENSORS)

    def __init__(self, network: Cut3rNetwork, config: Config, weights: str) -> None:
        self.network, self.weights = network, weights
        self.config, self.settings = config, config.of(Cut3rParameters)
        self.metric = network.architecture.metric
        self.image_size = published_size(config, network.architecture)
        self.device = network.enc_norm.weight.device
        samples = [network.enc_norm, network.dec_norm, network.dec_norm_state]
        self.fingerprint = fingerprint(self.name, network.architecture, samples, network.dtype)
        self._encode, self._recall, self._look, self._encode_rays, self._color = (
            Captured(stage, config.cuda_graphs)
            for stage in (self._encoded, self._recalled, self._interacted, self._encoded_rays, self._colored)
        )
        self.stages = {
            **{"encode": self._encode, "recall": self._recall, "look": self._look},
            **{"encode_rays": self._encode_rays, "color": self._color},
        }
        with torch.inference_mode():
            self._initial: dict[str, Tensor] = {"state": network.initial_state(), "poses": network.pose_retriever.mem}

    def new_memory(self) -> Cut3rMemory:
        """An empty memory."""
        return Cut3rMemory(self.fingerprint)

    def load_memory(self, path: Path) -> Cut3rMemory:
        """A memory written by ``Cut3rMemory.save`` with the same weights and precision."""
        memory = Cut3rMemory.load(path, self.fingerprint, self.initial(1))
        self._check(memory)
        return memory

    def initial(self, batch: int) -> dict[str, Tensor]:
        """State and pose memory before the first frame, of so many sequences."""
        return {name: tensor.expand(batch, -1, -1) for name, tensor in self._initial.items()}

    def step(self, frame: Frame, memory: Cut3rMemory) -> list[Prediction]:
        """Take one frame; see ``StreamingModel.step``. With ``cut3r.revisit`` its final answer comes later."""
        self._check(memory)
        image = preprocess(frame, self.image_size)
        view = View(frame, image.colors, image.intrinsics)
        is_revisited = self.settings.revisit > 1 and self.config.output != "immediate"
        state, answer = self._looked(view, memory.state, self.settings.update, final=not is_revisited)
        answers, held = [answer], memory.held
        if is_revisited:
            answers, held = [answer] if self.config.output == "both" else [], [*memory.held, view]
            if len(held) >= self.settings.revisit_frames:
                state, answers = self._revisited(held, state)
                held = []
        memory.state, memory.held = state, held
        if not callable(self.image_size):
            memory.image_size = self.image_size
        return answers

    def flush(self, memory: Cut3rMemory) -> list[Prediction]:
        """The final answers of the frames that were to be looked at again."""
        self._check(memory)
        if not memory.held or memory.state is None:
            return []
        state, answers = self._revisited(memory.held, memory.state)
        memory.state, memory.held = state, []
        return answers

    def _revisited(self, views: Sequence[View], state: RecurrentState) -> tuple[RecurrentState, list[Prediction]]:
        """Look at frames again; the state after that, and the answers of the last time."""
        answers: list[Prediction] = []
        for _ in range(self.settings.revisit - 1):
            answers = []
            for view in views:
                update = self.settings.update and self.settings.revisit_update
                state, answer = self._looked(view, state, update, final=True)
                answers.append(answer)
        return state, answers

    @torch.inference_mode()
    def _looked(
        self, view: View, state: RecurrentState | None, update: bool, *, final: bool
    ) -> tuple[RecurrentState, Prediction]:
        """The state after a frame, and the answer about it."""
        seen = self.advance(looked_up(view.colors), state, [update])
        points = placed_points(seen.own.points, seen.pose)
        sound = torch.stack([torch.isfinite(tensor).all() for tensor in seen.state.tensors.values()]).all()
        numbers: NDArray[Any] = torch.cat([seen.pose[0].double(), sound[None].double()]).cpu().numpy()
        answer = to_prediction(Pointmap(points, seen.own.confidence), view, final=final, features=seen.features)
        if not numbers[-1]:
            raise AnswerError(
                "the network's state is not finite",
                next_step="The frame is lost, the memory is as it was. If that happens often, set precision to fp32",
            )
        require_finite(numbers.astype(np.float32), answer.points, answer.confidence)
        return seen.state, self._with_camera(answer, numbers[:-1])

    def _with_camera(self, answer: Prediction, pose: NDArray[np.float64]) -> Prediction:
        """With the pose that the network gave, and where the camera is not calibrated what explains the pointmap."""
        rotation = Rotation.from_quat(pose[[4, 5, 6, 3]]).as_matrix()
        submap_from_camera = Sim3.rigid(rotation, pose[:3])
        answer = dataclasses.replace(answer, submap_from_camera=submap_from_camera, pose_source="model")
        if answer.intrinsics is None:
            try:
                camera = camera_of(submap_from_camera.inverse().apply(answer.points), answer.confidence)
            except GeometryError:
                return answer
            answer = dataclasses.replace(answer, intrinsics=camera, intrinsics_source="model")
        return answer

    @torch.inference_mode()
    def advance(
        self,
        pixels: Tensor,
        state: RecurrentState | None,
        update: Sequence[bool] | None = None,
        reset: Sequence[bool] | None = None,
    ) -> Seen:
        """One step on bare tensors; nothing is changed.

        Args:
            pixels: (B, 3, H, W) in [-1, 1], a frame of each of B sequences.
            state: before the frame; None before the first.
            update, reset: by sequence, see ``RecurrentState.rewritten``.
        """
        check_pixels(pixels, self.network.architecture)
        [features] = self._encode(to_device(pixels, self.device), rounded=self.settings.rounded_rotation)
        return self.seen(features, self.network.grid(pixels), state, update, reset)

    @torch.inference_mode()
    def seen(
        self,
        features: Tensor,
        grid: Grid,
        state: RecurrentState | None,
        update: Sequence[bool] | None = None,
        reset: Sequence[bool] | None = None,
    ) -> Seen:
        """As ``advance``, of a frame's (or a ray map's) features (B, P, E) and the grid of its patches."""
        initial = self.initial(len(features))
        before = RecurrentState(initial) if state is None else state
        known = before.tensors["poses"]
        pose_in = self.network.pose_token.expand(len(features), -1, -1)
        if before.frames:
            [pose_in] = self._recall(features, known)
        pose, points, confidence, gist, new_state, poses, pose_out, *decoded = self._look(
            features, pose_in, before.tensors["state"], known, grid=grid
        )
        layers = dict(zip(self.network.layer_numbers, (features.float(), *decoded), strict=True))
        found = Interaction(gist, pose_in, new_state, poses, layers, pose_out, grid)
        own = Pointmap(points, confidence)
        after = before.rewritten({"state": found.state, "poses": found.poses}, initial, update, reset)
        return Seen(found, pose, own, after, features)

    def _encoded(self, images: Tensor, *, rounded: bool) -> tuple[Tensor]:
        return (self.network.encode(images, rounded),)

    def _recalled(self, features: Tensor, poses: Tensor) -> tuple[Tensor]:
        return (self.network.recall(features, poses),)

    def _encoded_rays(self, rays: Tensor) -> tuple[Tensor]:
        return (self.network.encode_rays(rays),)

    def _colored(self, *layers: Tensor, grid: Grid) -> tuple[Tensor]:
        numbered = dict(zip(self.network.layer_numbers, layers, strict=True))
        return (self.network.downstream_head.colors(numbered, grid),)

    def _interacted(
        self, features: Tensor, pose_in: Tensor, state: Tensor, poses: Tensor, *, grid: Grid
    ) -> tuple[Tensor, ...]:
        """Pose, points and confidence, then what ``Interaction`` has of its own, in its order, layer 0 aside."""
        found, heads = self.network.interact(features, grid, pose_in, state, poses), self.network.downstream_head
        with torch.autocast(features.device.type, enabled=False):
            seen = heads.pose(found.pose_out), *heads.self_map(found.layers, grid)
        decoded = [found.layers[number] for number in self.network.layer_numbers[1:]]
        return *seen, found.gist, found.state, found.poses, found.pose_out, *decoded

    @torch.inference_mode()
    def imagine(
        self, memory: Cut3rMemory, submap_from_camera: Sim3, size: tuple[int, int], camera: Intrinsics | None = None
    ) -> ImaginedView:
        """What a camera would see that is somewhere in the submap; the memory does not change.

        Args:
            memory: that has seen a frame.
            submap_from_camera: rigid pose of the camera.
            size: (height, width) in pixels, multiples of the patch.
            camera: its calibration at that size; None: that of the published viewer.

        Raises:
            MemoryMismatchError: a memory of another model, or an empty one.
            FrameError: a size that the network cannot take.
            AnswerError: an answer that is not finite.
        """
        self._check(memory)
        if memory.state is None:
            raise MemoryMismatchError(
                "empty memory", expected="one that has seen a frame", next_step="Take a step first"
            )
        check_pixels(torch.zeros(1, 3, *size), self.network.architecture)
        rays = torch.from_numpy(ray_map(submap_from_camera, camera or viewer_camera(*size)))
        [features] = self._encode_rays(rays.permute(2, 0, 1)[None].to(self.device))
        grid = self.network.grid(rays.permute(2, 0, 1))
        seen = self.seen(features, grid, memory.state, [False])
        [colors] = self._color(*seen.interaction.layers.values(), grid=grid)
        own, confidence = to_host(seen.own.points[0], 1.0 - 1.0 / seen.own.confidence[0])
        require_finite(own, confidence)
        shades = ((colors[0] + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
        return ImaginedView(np.asarray(submap_from_camera.apply(own), np.float32), confidence, shades)

    def _check(self, memory: Cut3rMemory) -> None:
        """Refuse a memory that this network or this image size cannot continue."""
        if memory.owner != self.fingerprint:
            raise MemoryMismatchError(
                "memory of another model", got=memory.owner, expected=self.fingerprint, next_step="Use new_memory()"
            )
        asked = None if callable(self.image_size) else self.image_size
        if memory.state is not None and memory.image_size != asked:
            raise MemoryMismatchError(
                "image size (H, W) differs from the memory's",
                got=asked or "that of each image",
                expected=memory.image_size or "that of each image",
                next_step="Use new_memory() for another size",
            )
