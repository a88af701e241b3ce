"""Tests that only a CUDA device can run; `make gpu-check` runs them together with others and a benchmark."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _a_device_is_here() -> None:
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no CUDA device here")
