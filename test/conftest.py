"""Fixtures for every test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import GOLDEN, tiny_config, tiny_network

from spann3r_ros.models.spann3r.model import Spann3r

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the recordings."""
    return GOLDEN


@pytest.fixture
def model() -> Spann3r:
    """A tiny Spann3R with a small memory, both outputs."""
    config = tiny_config()
    config.output = "both"
    return Spann3r(tiny_network(), config, "random")
