"""The row of PoseNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.models.family import Architecture, RelocalizerFamily
from spann3r_ros.models.posenet import files
from spann3r_ros.models.posenet.architecture import TINY, PosenetArchitecture

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import Relocalizer


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.posenet.network import PosenetNetwork

    assert isinstance(architecture, PosenetArchitecture)
    return PosenetNetwork(architecture)


def _relocalizer(network: nn.Module, weights: str) -> Relocalizer:
    from spann3r_ros.models.posenet.model import Posenet
    from spann3r_ros.models.posenet.network import PosenetNetwork

    assert isinstance(network, PosenetNetwork)
    return Posenet(network, weights)


def _described(architecture: Architecture) -> str:
    assert isinstance(architecture, PosenetArchitecture)
    height, width = architecture.mean_size
    parts = [
        f"GoogLeNet of {architecture.stem[0]} to {architecture.outputs(-1)} channels",
        "three regressors" if architecture.auxiliary else "one regressor",
        f"{architecture.channels.upper()}, {architecture.pool} pools",
        f"mean image {width} x {height}" if (height, width) != (1, 1) else "mean color",
        f"labels turn {architecture.rotation}",
    ]
    return ", ".join(parts)


POSENET = RelocalizerFamily(
    name="posenet",
    title="PoseNet",
    summary="the pose of one image in the one scene that its weights know (Kendall et al. 2015)",
    kind="relocalizer",
    paper="1505.07427",
    memory="none",
    architecture=PosenetArchitecture(),
    tiny=TINY,
    poses="network",
    tensors=files.OWN,
    other_tensors=(files.AUTHORS, files.PORT),
    files=files.OFFICIAL_FILES,
    network=_network,
    relocalizer=_relocalizer,
    published=files.published_tensors,
    architecture_of=files.architecture_of,
    described=_described,
)
