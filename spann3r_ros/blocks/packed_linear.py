"""Linear layers whose weights lie as oneDNN wants them, with the GELU that follows in the same pass.

PyTorch brings the weights of a linear layer into oneDNN's layout at every call; at the few hundred tokens of one image
that costs a good part of the product itself. Here it is done once. The operators are those that TorchInductor uses.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_WEIGHTS = {torch.float32: 2**19, torch.bfloat16: 2**15}
"""Of a layer that is worth it, by its precision: in fp32 768 x 768 are and 384 x 1536 gained nothing, in bf16 192 x 192
gained half."""

MOST_TOKENS = 800
"""Of one product in fp32 that is worth it: 196 and 768 tokens gained, 1369 lost up to a quarter. In bf16 4000 gain."""

TOKENS = 196
"""That layers are packed for: a 224 x 224 image with patches of 16. Other numbers run as well, perhaps less fast."""

CLOSE = {torch.float32: 1e-4, torch.bfloat16: 0.02}
"""Largest difference of a layer of random weights of the order of one, packed and plain."""


class PackedLinear(nn.Module):
    """``nn.Linear`` in float32 or bfloat16 on the CPU, for inference; the weights are held once, packed.

    Args:
        linear: its weights are not referred to afterwards.
        gelu: whether the exact GELU follows.
    """

    def __init__(self, linear: nn.Linear, gelu: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features, self.gelu = linear.in_features, linear.out_features, gelu
        self.bias = linear.bias
        # No buffer: a packed tensor can be neither moved nor saved.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), TOKENS)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        activation, algorithm = ("gelu", "none") if self.gelu else ("none", "")
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self.bias, activation, [], algorithm)
        return result

    def extra_repr(self) -> str:
        """For people."""
        return f"in_features={self.in_features}, out_features={self.out_features}, gelu={self.gelu}"


def can_pack(dtype: torch.dtype = torch.float32) -> bool:
    """Whether this PyTorch and this processor pack linear layers of a precision, and right."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return False
    try:
        layer, x = nn.Linear(32, 48, dtype=dtype), torch.ones(1, 3, 32, dtype=dtype)
        with torch.inference_mode():
            plain, packed = layer(x), PackedLinear(layer)(x)
            both = PackedLinear(layer, gelu=True)(x)
            return bool((packed - plain).abs().max() < CLOSE[dtype]) and bool(
                (both - functional.gelu(plain)).abs().max() < CLOSE[dtype]
            )
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


def pack_linears(network: nn.Module, least: int | None = None, dtypes: Sequence[torch.dtype] = tuple(CLOSE)) -> int:
    """Replace the large linear layers of a network on the CPU; return how many.

    A GELU that follows one in an ``nn.Sequential`` is taken in. Whoever reads a layer's ``weight`` must do so before;
    it is given back at once, so that no more than one layer is held twice. Nothing happens where this machine cannot
    do it.

    Args:
        network: changed in place.
        least: weights of a layer that is packed; None: ``LEAST_WEIGHTS``.
        dtypes: float32, bfloat16 or both: layers of another precision stay as they are.
    """
    smallest = {dtype: LEAST_WEIGHTS[dtype] if least is None else least for dtype in dtypes if can_pack(dtype)}
    replaced = 0
    # A list of all modules would keep every plain layer until the last one is packed.
    for module in [module for module in network.modules() if next(module.children(), None) is not None]:
        names = [name for name, _ in module.named_children()]
        for name, after in zip(names, [*names[1:], ""], strict=True):
            child = module.get_submodule(name)
            if not _is_large(child, smallest):
                continue
            gelu = isinstance(module, nn.Sequential) and after != "" and is_exact_gelu(module.get_submodule(after))
            setattr(module, name, PackedLinear(child, gelu))
            if gelu:
                setattr(module, after, nn.Identity())
            replaced += 1
    return replaced


def weights_in_memory(network: nn.Module) -> Iterator[tuple[int, int]]:
    """Address and bytes of the weights of a network on the CPU, packed ones as far as PyTorch tells where they are."""
    for module in network.modules():
        if isinstance(module, PackedLinear):
            with contextlib.suppress(AttributeError, RuntimeError):
                packed = module._weight
                yield torch.ops.mkldnn.data_ptr(packed), packed.numel() * packed.element_size()
    for weights in network.parameters():
        yield weights.data_ptr(), weights.numel() * weights.element_size()


def _is_large(module: nn.Module, smallest: Mapping[torch.dtype, int]) -> TypeGuard[nn.Linear]:
    """Whether a module is a linear layer on the CPU with so many weights or more, by their precision."""
    return (
        type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.numel() >= smallest.get(module.weight.dtype, module.weight.numel() + 1)
    )


def is_exact_gelu(module: nn.Module | None) -> bool:
    """Whether a module is the GELU that is not approximated."""
    return isinstance(module, nn.GELU) and module.approximate == "none"
