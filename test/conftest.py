"""Fixtures for every test."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from ros_tools import is_here
from tiny_models import GOLDEN, tiny_config, tiny_network

from spann3r_ros.models.spann3r.model import Spann3r

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no worker ends long after the others; the rest mixed, for some only wait."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, zlib.crc32(item.path.name.encode()), str(item.path)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a ROS tool that is not here, unless it has a stand-in."""
    for mark in item.iter_markers("ros_tool"):
        [tool] = mark.args
        if not mark.kwargs.get("stand_in") and not is_here(tool):
            pytest.skip(f"{tool} is not installed")


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    """What a command that was run in this process told PyTorch ends with its test: several threads in each worker
    would wait for each other.
    """
    yield
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)


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
