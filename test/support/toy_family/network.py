"""The toy network."""

from __future__ import annotations

import torch
from torch import nn

from toy_family.architecture import ToyArchitecture


class ToyNetwork(nn.Module):
    """One parameter; its mean is the distance of a plane."""

    def __init__(self, architecture: ToyArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.plane = nn.Parameter(torch.ones(architecture.rows))

    def set_precision(self, dtype: torch.dtype) -> None:
        """All of it."""
        self.to(dtype)
