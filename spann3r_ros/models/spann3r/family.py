"""The row of Spann3R."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.config import Config
from spann3r_ros.models.dust3r.family import described
from spann3r_ros.models.dust3r.files import published_tensors
from spann3r_ros.models.family import Architecture, Family
from spann3r_ros.models.spann3r import files
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.parameters import Spann3rParameters

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import Stream


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.spann3r.network import Spann3rNetwork

    assert isinstance(architecture, Spann3rArchitecture)
    return Spann3rNetwork(architecture)


def _model(network: nn.Module, config: Config, weights: str) -> Stream:
    from spann3r_ros.models.base import ModelStream
    from spann3r_ros.models.spann3r.model import Spann3r
    from spann3r_ros.models.spann3r.network import Spann3rNetwork

    assert isinstance(network, Spann3rNetwork)
    return ModelStream(Spann3r(network, config, weights))


def _described(architecture: Architecture) -> str:
    assert isinstance(architecture, Spann3rArchitecture)
    parts = described(architecture.trunk)
    parts.insert(2, f"value encoder {architecture.value_depth} x {architecture.trunk.encoder_width}")
    return ", ".join(parts)


SPANN3R = Family(
    name="spann3r",
    title="Spann3R",
    summary="a stream of images into one frame, with a spatial memory (Wang and Agapito 2024)",
    kind="streaming",
    paper="2408.16061",
    memory="working and long-term memory of tokens, bounded",
    architecture=Spann3rArchitecture(),
    tensors=("dust3r.enc_blocks.",),
    files=files.OFFICIAL_FILES,
    network=_network,
    model=_model,
    published=published_tensors,
    architecture_of=files.architecture_of,
    described=_described,
    parameters=Spann3rParameters,
)
