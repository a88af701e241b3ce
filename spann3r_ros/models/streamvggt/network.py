"""The network of StreamVGGT (Zhuo et al. 2025): VGGT whose frames look at themselves and at the past."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spann3r_ros.blocks.attention import HeadTensors, attend
from spann3r_ros.memory.kv_cache import CacheShape, KvCache, PastTensors, attention_paid
from spann3r_ros.models.streamvggt.architecture import StreamVggtArchitecture
from spann3r_ros.models.vggt.aggregator import Features
from spann3r_ros.models.vggt.architecture import VggtArchitecture
from spann3r_ros.models.vggt.network import VggtNetwork

GLOBAL, CAMERA = "global", "camera"


class StreamStep(NamedTuple):
    """What one frame gave.

    Attributes:
        features: of the aggregator, for the dense heads.
        encodings: (iterations, 1, 1, 9) of its camera.
        received: (frames + 1,) float32 attention that it paid to the frames of the cache; None without a bound.
    """

    features: Features
    encodings: Tensor
    received: Tensor | None


class StreamVggtNetwork(VggtNetwork):
    """Attribute names are the published tensors' names, the same as VGGT's."""

    def __init__(self, architecture: StreamVggtArchitecture) -> None:
        super().__init__(architecture)

    def new_cache(self, size: tuple[int, int], bound: int, recent: int) -> KvCache:
        """An empty cache for images of (H, W); see ``KvCache``."""
        token = self.aggregator.camera_token
        return KvCache(cache_shapes(self.architecture, size, token.dtype), bound, recent, token.device)

    def step(self, images: Tensor, cache: KvCache, shared: bool = True) -> StreamStep:
        """One frame of a stream; the cache holds it after ``commit``.

        Args:
            images: (1, 1, 3, H, W) in [0, 1], of the size that the cache was made for.
            cache: of the frames before.
            shared: whether an iteration of the camera head sees what all iterations of the past frames left, as the
                published streaming code does; else that of the same iteration alone, as in the graph that the weights
                were trained in.
        """
        specials = self.aggregator.special_tokens(begins=cache.offered == 0)
        return self.look(images, specials, cache, shared=shared, tally=bool(cache.bound))

    def look(
        self, images: Tensor, specials: Tensor, cache: KvCache | PastTensors, *, shared: bool, tally: bool
    ) -> StreamStep:
        """As ``step``.

        Args:
            images: as of ``step``.
            specials: (1, 1 + registers, width) of the frame, see ``Aggregator.special_tokens``.
            cache: that gets its keys and values.
            shared: as of ``step``.
            tally: whether to add up the attention that it pays to past frames.
        """
        received: list[Tensor] = []

        def of_tokens(layer: int, heads: HeadTensors) -> Tensor:
            cache.write(GLOBAL, layer, heads.key, heads.value)
            keys, values = cache.read(GLOBAL, layer)
            if tally:
                # The camera token and the registers speak for their frame.
                received.append(attention_paid(heads.query[:, :, : specials.shape[1]], keys, cache.frames + 1))
            return attend(heads.query, keys, values)

        def of_cameras(iteration: int, block: int, heads: HeadTensors) -> Tensor:
            cache.write(CAMERA, block, heads.key, heads.value, iteration)
            if shared:
                keys, values = cache.read(CAMERA, block, iteration + 1)
            else:
                keys, values = cache.read_entry(CAMERA, block, iteration)
            return attend(heads.query, keys, values)

        features = self.aggregator(images, specials, attention=of_tokens)
        encodings = self.cameras(features, of_cameras)
        return StreamStep(features, encodings, torch.stack(received).sum(dim=0) if received else None)

    def causal(self, images: Tensor) -> tuple[Features, Tensor]:
        """All frames (B, S, 3, H, W) of a known list at once, each looking at itself and at those before it.

        This is the graph of the training; ``step`` without ``shared`` gives the same, frame by frame. It costs a mask
        of (S x tokens)^2.

        Returns:
            The features, and the encodings (iterations, B, S, 9).
        """
        a, frames = self.architecture, images.shape[1]
        tokens = a.specials + (images.shape[-2] // a.patch_size) * (images.shape[-1] // a.patch_size)

        def masked(heads: HeadTensors, mask: Tensor) -> Tensor:
            return attend(heads.query, heads.key, heads.value, mask)

        past = torch.ones(frames, frames, dtype=torch.bool, device=images.device).tril()
        of_tokens = past.repeat_interleave(tokens, dim=0).repeat_interleave(tokens, dim=1)
        features = self.aggregator(images, attention=lambda _, heads: masked(heads, of_tokens))
        return features, self.cameras(features, lambda _iteration, _block, heads: masked(heads, past))


def cache_shapes(a: VggtArchitecture, size: tuple[int, int], dtype: torch.dtype) -> dict[str, CacheShape]:
    """What a cache keeps of each frame of (H, W) pixels; ``dtype`` is the aggregator's."""
    tokens = a.specials + (size[0] // a.patch_size) * (size[1] // a.patch_size)
    return {
        GLOBAL: CacheShape(a.depth, a.heads, tokens, a.width // a.heads, dtype),
        CAMERA: CacheShape(
            a.camera_depth, a.camera_heads, a.camera_iterations, 2 * a.width // a.camera_heads, torch.float32
        ),
    }
