"""StreamVGGT as a streaming model: one frame in, its final answer out, at once."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.config import Config
from spann3r_ros.errors import ImageSizeError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.memory.kv_cache import KvCache, PastTensors, check_bound
from spann3r_ros.memory.snapshot import memory_file, read_snapshot
from spann3r_ros.models.pointmap import fingerprint
from spann3r_ros.models.streamvggt.memory import CACHE, StreamVggtMemory
from spann3r_ros.models.streamvggt.network import StreamStep, StreamVggtNetwork, cache_shapes
from spann3r_ros.models.streamvggt.parameters import StreamVggtParameters
from spann3r_ros.models.transfer import to_device
from spann3r_ros.models.vggt.aggregator import Features
from spann3r_ros.models.vggt.answers import ImageSize, predictions, require_head
from spann3r_ros.models.vggt.model import memory_of
from spann3r_ros.models.window_memory import require_memory
from spann3r_ros.prediction import Prediction


class StreamVggt:
    """A StreamVGGT network with fixed weights; see ``StreamingModel``. The world is the first frame's camera, nearly.

    Args:
        network: in evaluation mode, on its device, in its precision.
        config: ``image_width``, ``image_height``, ``pose.use_camera_info`` and its own.
        weights: where the weights came from.

    Raises:
        ConfigError: weights without the head that is asked for, or a cache too small or too large for the memory.
    """

    name = "streamvggt"
    outside = (
        *("aggregator.camera_token", "aggregator.register_token", "aggregator.patch_embed.norm."),
        *("camera_head.token_norm.", "camera_head.trunk_norm."),
    )

    def __init__(self, network: StreamVggtNetwork, config: Config, weights: str) -> None:
        self.network, self.config, self.weights = network, config, weights
        self.settings = config.of(StreamVggtParameters)
        architecture = network.architecture
        self.metric = architecture.metric
        self.device = network.aggregator.camera_token.device
        require_head(architecture, self.settings.points, "streamvggt.points")
        self.image_size = ImageSize(config, architecture, self.settings.fit)
        self._require_memory()
        samples = [network.aggregator.patch_embed.norm, network.camera_head.token_norm, network.camera_head.trunk_norm]
        self.fingerprint = fingerprint(self.name, architecture, samples, network.dtype)
        # Not recorded on CUDA: a frame is much work for each launch.
        self._look, self._dense = (Captured(stage, enabled=False) for stage in (self._looked, network.dense))
        self.stages = {"look": self._look, "dense": self._dense}

    def _require_memory(self) -> None:
        """Refuse a bound that contradicts itself, and a cache that cannot be had."""
        size, settings, network = self.image_size.usual, self.settings, self.network
        check_bound(settings.kv_frames, settings.recent_frames)
        frame = sum(shape.bytes() for shape in cache_shapes(network.architecture, size, network.dtype).values())
        require_memory(
            f"the keys and values of {settings.kv_frames + 1} frames",
            frame * (settings.kv_frames + 1) + memory_of(network.architecture, size, 1, network.dtype),
            self.device,
            "Lower streamvggt.kv_frames or image_width, or set precision to bf16",
        )

    def new_memory(self) -> StreamVggtMemory:
        """An empty memory."""
        return StreamVggtMemory(self.fingerprint)

    def load_memory(self, path: Path) -> StreamVggtMemory:
        """A memory written by ``StreamVggtMemory.save`` with the same weights, precision and bound."""
        tensors, state = read_snapshot(path, self.fingerprint)
        memory = self.new_memory()
        with memory_file(path):
            if state["size"] is None:
                return memory
            (height, width), (tall, wide) = state["size"], state["answer"]
            memory.size, memory.answer = (int(height), int(width)), (int(tall), int(wide))
            patch = self.network.architecture.patch_size
            if any(side % patch or not patch <= side <= 8192 for side in memory.size):
                raise ValueError(f"images of {memory.size}")
            held = {name.removeprefix(CACHE): tensor for name, tensor in tensors.items() if name.startswith(CACHE)}
            # What was saved tells how large the images were, before buffers for them are made.
            expected = cache_shapes(self.network.architecture, memory.size, self.network.dtype)
            if any(held[f"{name}.keys"].shape[3] != shape.entries for name, shape in expected.items()):
                raise ValueError(f"keys of other images than {memory.size}")
            memory.cache = self._new_cache(memory.size)
            memory.cache.restore(held, state["counters"])
        return memory

    @torch.inference_mode()
    def step(self, frame: Frame, memory: StreamVggtMemory) -> list[Prediction]:
        """Take one frame; its answer is final.

        Raises:
            FrameError: an image that cannot be taken.
            MemoryMismatchError: a memory of another model; an ImageSizeError of images of another size.
            AnswerError: an answer that is not finite.
        """
        if memory.owner != self.fingerprint:
            raise MemoryMismatchError(
                "memory of another model", got=memory.owner, expected=self.fingerprint, next_step="Use new_memory()"
            )
        answer = self.image_size.of(frame)
        if memory.answer is not None and memory.answer != answer:
            raise ImageSizeError(answer, memory.answer)
        loaded = self.image_size.load([frame])
        size = (loaded.pixels.shape[-2], loaded.pixels.shape[-1])
        cache = self._new_cache(size) if memory.cache is None else memory.cache
        images = to_device(loaded.pixels, self.device)
        taken = self._taken(images, cache)
        answers = predictions(
            self._dense,
            taken.features,
            taken.encodings[-1],
            loaded,
            self.settings.points,
            self.config.pose.use_camera_info,
        )
        cache.commit(taken.received)  # from here on the memory changes, and no layer of the network runs
        memory.cache, memory.size, memory.answer = cache, size, answer
        return answers

    def _taken(self, images: Tensor, cache: KvCache) -> StreamStep:
        """See ``StreamVggtNetwork.step``."""
        shared = self.settings.camera_cache == "shared"
        if not self._look.is_replaced:  # keys and values are written beside those of the past: nothing is copied
            return self.network.step(images, cache, shared)
        specials = self.network.aggregator.special_tokens(begins=cache.offered == 0)
        encodings, received, camera, *others = self._look(images, specials, *cache.past(), shared=shared)
        layers = len(self.network.architecture.layers)
        cache.take(others[layers:])
        features = Features(camera, tuple(others[:layers]), (images.shape[-2], images.shape[-1]))
        return StreamStep(features, encodings.transpose(0, 1), received[0] if cache.bound else None)

    def _looked(self, images: Tensor, specials: Tensor, *past: Tensor, shared: bool) -> tuple[Tensor, ...]:
        """Encodings (1, iterations, 1, 9), attention (1, frames + 1), features, and the frame's own keys and values.

        Args:
            images: (1, 1, 3, H, W) in [0, 1].
            specials: (1, 1 + registers, width).
            past: of ``KvCache.past``.
            shared: see ``StreamVggtNetwork.step``.
        """
        size = (int(images.shape[-2]), int(images.shape[-1]))
        cache = PastTensors(cache_shapes(self.network.architecture, size, self.network.dtype), past)
        taken = self.network.look(images, specials, cache, shared=shared, tally=True)
        assert taken.received is not None
        features = taken.features
        return taken.encodings.transpose(0, 1), taken.received[None], features.camera, *features.patches, *cache.own()

    def flush(self, memory: StreamVggtMemory) -> list[Prediction]:
        """Nothing: every answer was given at once."""
        del memory
        return []

    def _new_cache(self, size: tuple[int, int]) -> KvCache:
        return self.network.new_cache(size, self.settings.kv_frames, self.settings.recent_frames)
