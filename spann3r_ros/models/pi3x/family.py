"""The row of Pi3X."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.config import Config
from spann3r_ros.models.family import Architecture, Family
from spann3r_ros.models.pi3.family import described
from spann3r_ros.models.pi3x import files
from spann3r_ros.models.pi3x.architecture import TINY, Pi3xArchitecture
from spann3r_ros.models.pi3x.parameters import Pi3xParameters

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import WindowModel


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.pi3x.network import Pi3xNetwork

    assert isinstance(architecture, Pi3xArchitecture)
    return Pi3xNetwork(architecture)


def _model(network: nn.Module, config: Config, weights: str) -> WindowModel:
    from spann3r_ros.models.pi3x.model import Pi3x
    from spann3r_ros.models.pi3x.network import Pi3xNetwork

    assert isinstance(network, Pi3xNetwork)
    return Pi3x(network, config, weights)


def _described(architecture: Architecture) -> str:
    assert isinstance(architecture, Pi3xArchitecture)
    told = "intrinsics, poses and depth" if architecture.conditioned else "images only"
    return ", ".join([*described(architecture.trunk), f"takes {told}", "metric"])


PI3X = Family(
    name="pi3x",
    title="Pi3X",
    summary="pi^3 in about meters; intrinsics, odometry and depth help it where they are known (Wang et al. 2025)",
    kind="window",
    paper="2507.13347",
    memory="the images of a window, bounded",
    architecture=Pi3xArchitecture(),
    tiny=TINY,
    poses="network",
    tensors=("point_decoder.", "metric_token"),
    files=files.OFFICIAL_FILES,
    network=_network,
    model=_model,
    published=files.published_tensors,
    architecture_of=files.architecture_of,
    described=_described,
    parameters=Pi3xParameters,
)
