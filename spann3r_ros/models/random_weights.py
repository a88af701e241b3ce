"""Networks with random weights: to try a family, or to measure one, without its official files."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from spann3r_ros.models.family import Architecture, NetworkFamily


def random_network(
    row: NetworkFamily,
    architecture: Architecture,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """A network of a family in evaluation mode, the same in every process.

    It is made in its precision at once, so that the peak of the memory is that of running it.

    Args:
        row: the family.
        architecture: its sizes.
        dtype: precision of the trunk.
        device: where it goes.
    """
    with torch.device("meta"):
        network: Any = row.network(architecture)
        network.set_precision(dtype)
    network.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            _fill(name, tensor, generator)
    ready: nn.Module = network.eval().requires_grad_(False)
    return ready


def _fill(name: str, tensor: torch.Tensor, generator: torch.Generator) -> None:
    """Values that keep activations of the order of one: norms pass on, biases are nothing, matrices keep variance."""
    if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith(("weight", "gamma"))):
        tensor.fill_(1.0)
    elif tensor.ndim <= 1:
        tensor.zero_()
    elif name.endswith("weight"):
        tensor.normal_(std=tensor[0].numel() ** -0.5, generator=generator)
    else:  # tokens and embeddings that are learned
        tensor.normal_(std=0.02, generator=generator)
