"""Spann3R as a streaming model: one frame in, the pointmaps that are now known out (paper, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.config import Config
from spann3r_ros.errors import AnswerError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.memory.spatial import Insertion, SpatialMemory
from spann3r_ros.models.dust3r.network import Grid, Layers
from spann3r_ros.models.pixels import check_pixels, target_size
from spann3r_ros.models.pointmap import Pointmap, View, fingerprint, to_prediction
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.models.spann3r.memory import Pending, Spann3rMemory
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.models.spann3r.parameters import Spann3rParameters
from spann3r_ros.models.transfer import to_device
from spann3r_ros.prediction import Prediction


@dataclass(frozen=True, eq=False)
class Step:
    """Everything that one step computes for the pair of frames (t, t + 1); batch first.

    Attributes:
        fused: (B, P, E) what branch 1 starts from: the feature of frame 0, later what the memory answered.
        features: (B, P, E) encoder feature of frame t + 1.
        layers1, layers2: decoder layers of both branches by number.
        key: (B, P, E) of frame t.
        query: (B, P, E) of frame t + 1.
        value: (B, P, E) of frame t's pointmap; None when the frame was rejected.
        refined: frame t by head 1; None when neither the output nor the memory needed it.
        immediate: frame t + 1 by head 2; None unless the output asks for it.
        similarities: (B, window) cosine similarities of frame t to the working memory, or None when not gated.
        insertion: what the memory did with frame t; None when it was rejected.
    """

    fused: Tensor
    features: Tensor
    layers1: Layers
    layers2: Layers
    key: Tensor
    query: Tensor
    value: Tensor | None
    refined: Pointmap | None
    immediate: Pointmap | None
    similarities: Tensor | None
    insertion: Insertion | None


class Spann3r:
    """A Spann3R network with fixed weights; see ``StreamingModel``.

    Args:
        network: in evaluation mode, on its device, in its precision.
        config: ``output``, ``image_width``, ``image_height`` and its own; thresholds may change between steps.
        weights: where the weights came from.
    """

    name = "spann3r"

    def __init__(self, network: Spann3rNetwork, config: Config, weights: str) -> None:
        self.network = network
        self.config, self.settings = config, config.of(Spann3rParameters)
        self.weights = weights
        self.metric = network.architecture.trunk.metric
        self.image_size = target_size(config, network.architecture.trunk)
        self.device = network.value_norm.weight.device
        samples = [network.dust3r.enc_norm, network.value_norm, network.norm_k, network.norm_v]
        self.fingerprint = fingerprint(self.name, network.architecture, samples, network.dtype)
        self._encode, self._decode, self._head, self._value = (
            Captured(stage, config.cuda_graphs)
            for stage in (self._encoded, self._decoded, network.dust3r.head_outputs, self._valued)
        )

    def new_memory(self) -> Spann3rMemory:
        """An empty memory."""
        return Spann3rMemory(self.fingerprint)

    def load_memory(self, path: Path) -> Spann3rMemory:
        """A memory written by ``Spann3rMemory.save`` with the same weights and precision."""
        memory = Spann3rMemory.load(path, self.fingerprint, self.device)
        if memory.grid is not None and memory.pending is not None:
            patch = self.network.architecture.patch_size
            self._check_memory(memory, (self.image_size[0] // patch, self.image_size[1] // patch), 1)
            width = self.network.architecture.trunk.encoder_width
            if memory.pending.features.shape[2] != width:
                raise MemoryMismatchError(
                    f"width of the features in {path}", got=memory.pending.features.shape[2], expected=width
                )
        return memory

    def step(self, frame: Frame, memory: Spann3rMemory) -> list[Prediction]:
        """Take one frame; see ``StreamingModel.step``. The first frame alone gives nothing yet."""
        image = preprocess(frame, self.image_size)
        view = View(frame, image.colors, image.intrinsics)
        previous = memory.pending
        step = self.advance(image.pixels, memory, view)
        if step is None or previous is None or previous.view is None:
            return []
        answers = []
        # With immediate output, frame 0 has no answer of head 2: it gets that of head 1.
        is_wanted = self.config.output != "immediate" or previous.query is None
        if step.refined is not None and is_wanted and not previous.answered:
            answers.append(to_prediction(step.refined, previous.view, final=True, features=previous.features))
        if step.immediate is not None:
            is_final = self.config.output == "immediate"
            answers.append(to_prediction(step.immediate, view, final=is_final, features=step.features))
        return answers

    @torch.inference_mode()
    def flush(self, memory: Spann3rMemory) -> list[Prediction]:
        """The last frame, by head 2 as in the paper. A single frame is paired with itself."""
        pending = memory.pending
        if pending is None or pending.view is None or memory.grid is None or pending.answered:
            return []
        if pending.layers is None:
            layers, _ = self.network.dust3r.decode(pending.features, pending.features, memory.grid, memory.grid)
            pointmap = self._pointmap(1, layers, memory.grid)
        elif self.config.output == "immediate":
            return []
        else:
            pointmap = self._pointmap(2, pending.layers, memory.grid)
        answer = to_prediction(pointmap, pending.view, final=True, features=pending.features)
        pending.answered = True
        return [answer]

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to features (B, P, E); frames of a known list can be encoded together."""
        check_pixels(pixels, self.network.architecture.trunk)
        [features] = self._encode(to_device(pixels, self.device))
        return features

    @torch.inference_mode()
    def advance(
        self, pixels: Tensor, memory: Spann3rMemory, view: View | None = None, features: Tensor | None = None
    ) -> Step | None:
        """One step of section 3.1 on bare tensors; None for the very first frame.

        Args:
            pixels: (B, 3, H, W) in [-1, 1], the frame t + 1.
            memory: updated last of all, so an error leaves it as it was.
            view: the frame, kept until its answer is given.
            features: of ``pixels`` when already encoded.
        """
        network, trunk, output = self.network, self.network.dust3r, self.config.output
        check_pixels(pixels, network.architecture.trunk)
        grid, pending = trunk.grid(pixels), memory.pending
        self._check_memory(memory, grid, len(pixels))
        features = self.encode(pixels) if features is None else features
        if pending is None or memory.spatial is None:
            if not bool(_all_finite(features)):
                raise _not_finite()
            memory.spatial = self.new_spatial(features)
            memory.grid, memory.pending = grid, Pending(features, None, None, view)
            return None

        spatial = memory.spatial
        spatial.attention_threshold = self.settings.attention_threshold
        spatial.similarity_threshold = self.settings.similarity_threshold
        fused, received = pending.features, None
        if pending.query is not None:
            content, received = spatial.read(network.norm_q(pending.query))
            fused = content + pending.query
        key, query, directions, *layers = self._decode(fused, features, pending.features, grid=grid)
        half = len(layers) // 2
        layers1, layers2 = trunk.layers_of(fused, layers[:half]), trunk.layers_of(features, layers[half:])
        similarities = spatial.similarities(directions)
        similarity = _HostScalar(None if similarities is None else similarities.max())

        immediate = self._pointmap(2, layers2, grid) if output != "refined" else None
        refined = self._pointmap(1, layers1, grid) if output != "immediate" or pending.query is None else None
        sound = _HostScalar(_all_finite(key, query, *(p.points for p in (immediate, refined) if p is not None)))
        # Only here does the host wait for the device, which is busy with the heads meanwhile.
        gate = similarity.get()
        accepted = spatial.accepts(gate)
        value, stored = None, None
        if accepted:
            refined = self._pointmap(1, layers1, grid) if refined is None else refined
            value, *stored = self._value(refined.points, pending.features, key, grid=grid)
            sound = _HostScalar(_all_finite(value, key, query, refined.points))
        if not sound.get():
            raise _not_finite()

        insertion = None  # from here on the memory changes, and no layer of the network runs
        if received is not None:
            spatial.receive(received)
        spatial.offer(gate, accepted)
        if stored is not None:
            insertion = spatial.insert(directions, *stored)
        memory.pending = Pending(features, query, layers2, view)
        return Step(fused, features, layers1, layers2, key, query, value, refined, immediate, similarities, insertion)

    def _encoded(self, images: Tensor) -> tuple[Tensor]:
        return (self.network.dust3r.encode(images),)

    def _decoded(self, fused: Tensor, features: Tensor, before: Tensor, *, grid: Grid) -> tuple[Tensor, ...]:
        """Key, query and the key's direction, and the decoder's layers of branch 1 and then of branch 2."""
        layers1, layers2 = self.network.dust3r.decode(fused, features, grid, grid)
        key, query = self.network.key(before, layers1), self.network.query(features, layers2)
        directions = functional.normalize(key.float(), dim=-1, eps=1e-12).to(key.dtype)
        return key, query, directions, *list(layers1.values())[1:], *list(layers2.values())[1:]

    def _valued(self, points: Tensor, features: Tensor, key: Tensor, *, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
        """The value of a frame's pointmap, and what the memory stores of key and value."""
        value = self.network.value(points, features, grid)
        return value, self.network.norm_k(key), self.network.norm_v(value + key)

    def _pointmap(self, branch: int, layers: Layers, grid: Grid) -> Pointmap:
        points, confidence = self._head(*layers.values(), branch=branch, grid=grid)
        return Pointmap(points, confidence)

    def new_spatial(self, features: Tensor) -> SpatialMemory:
        """An empty spatial memory for frames with features of this shape (B, P, E)."""
        batch, tokens, width = features.shape
        memory = self.settings
        return SpatialMemory(
            batch=batch,
            tokens_per_frame=tokens,
            width=width,
            working_frames=memory.working_frames,
            long_term_tokens=memory.long_term_tokens,
            attention_threshold=memory.attention_threshold,
            similarity_threshold=memory.similarity_threshold,
            protected_frames=memory.protected_frames,
            dtype=features.dtype,
            device=features.device,
        )

    def _check_memory(self, memory: Spann3rMemory, grid: Grid, batch: int) -> None:
        """Refuse a memory that this network, this image size or this batch cannot continue."""
        if memory.owner != self.fingerprint:
            raise MemoryMismatchError(
                "memory of another model", got=memory.owner, expected=self.fingerprint, next_step="Use new_memory()"
            )
        patch = self.network.architecture.trunk.patch_size
        if memory.grid not in (None, grid):
            raise MemoryMismatchError(
                "image size (H, W) differs from the memory's",
                got=(grid[0] * patch, grid[1] * patch),
                expected=memory.grid and (memory.grid[0] * patch, memory.grid[1] * patch),
                next_step="Use new_memory() for another size",
            )
        if memory.pending is not None and len(memory.pending.features) != batch:
            raise MemoryMismatchError(
                "batch differs from the memory's", got=batch, expected=len(memory.pending.features)
            )


def _all_finite(*tensors: Tensor) -> Tensor:
    """Whether all values of all tensors are finite, on their device."""
    return torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all().float()


def _not_finite() -> AnswerError:
    return AnswerError(
        "the network's answer is not finite",
        next_step="The frame is lost, the memory is as it was. If that happens often, set precision to fp32",
    )


class _HostScalar:
    """A scalar on its way from the device; ``get`` waits for its copy alone, not for what was queued after it."""

    def __init__(self, value: Tensor | None) -> None:
        self._value, self._arrival = value, None
        if value is not None and value.is_cuda:
            self._value = torch.empty((), dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
            self._arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrival.record()

    def get(self) -> float | None:
        if self._arrival is not None:
            self._arrival.synchronize()
        return None if self._value is None else float(self._value)
