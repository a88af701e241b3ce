"""How much a step of Spann3R computes, counted on a network without numbers, and how fast this machine multiplies."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spann3r_ros.blocks.packed_linear import PackedLinear, can_pack
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.network import Spann3rNetwork

GIGA = 1e9

LAYERS = {
    (1024, 3072): 30,
    (1024, 1024): 31,
    (1024, 4096): 30,
    (4096, 1024): 30,
    (768, 2304): 24,
    (768, 768): 120,
    (768, 3072): 24,
    (3072, 768): 24,
}
"""(in, out) of the linear layers of the full-size network, and how many of them run in a step."""


def gflop_of_step(architecture: Spann3rArchitecture, size: tuple[int, int], tokens: int, heads: int = 1) -> float:
    """Billions of floating-point operations (a multiplication and an addition are two) of a step that stores its frame.

    Matrix products and convolutions are counted, as PyTorch does; nothing is computed.

    Args:
        architecture: of the network.
        size: (height, width) of the images.
        tokens: in the memory.
        heads: that run: ours asks for one, the published step for both.
    """
    with torch.device("meta"):
        network = Spann3rNetwork(architecture)
        images = torch.zeros(1, 3, *size)
    trunk, grid = network.dust3r, (size[0] // architecture.patch_size, size[1] // architecture.patch_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        features = trunk.encode(images)
        rows = features.new_zeros(1, tokens, features.shape[-1])
        fused = (features @ rows.transpose(1, 2)) @ rows
        layers1, layers2 = trunk.decode(fused, features, grid, grid)
        network.key(features, layers1)
        network.query(features, layers2)
        raw = trunk.downstream_head1(layers1, grid)
        if heads == 2:
            trunk.downstream_head2(layers2, grid)
        network.value(raw[:, :3].permute(0, 2, 3, 1), features, grid)
    return float(counter.get_total_flops()) / GIGA


class GemmRate:
    """The rate of this machine at linear layers of given shapes, in float32, by the faster of plain and packed ones.

    Args:
        tokens: rows of every product.
        layers: shapes (in, out) and how many of each.
    """

    def __init__(self, tokens: int = 196, layers: Mapping[tuple[int, int], int] = LAYERS) -> None:
        self._layers = layers
        self._gflop = sum(2 * tokens * a * b * count for (a, b), count in layers.items()) / GIGA
        self._layers_of: dict[tuple[int, int], list[nn.Module]] = {}
        for a, b in layers:
            plain = nn.Linear(a, b)
            self._layers_of[a, b] = [plain, PackedLinear(plain)] if can_pack() else [plain]
        self._inputs = {a: torch.randn(1, tokens, a) for a, _ in layers}

    @torch.inference_mode()
    def measure(self, repeats: int = 3) -> float:
        """GFLOP/s, each shape by the fastest of its runs, as they are now."""
        seconds = 0.0
        for shape, count in self._layers.items():
            found = [
                _seconds(layer, self._inputs[shape[0]]) for layer in self._layers_of[shape] for _ in range(repeats)
            ]
            seconds += count * min(found)
        return self._gflop / seconds


def _seconds(layer: nn.Module, x: Tensor) -> float:
    begun = time.perf_counter()
    layer(x)
    return time.perf_counter() - begun
