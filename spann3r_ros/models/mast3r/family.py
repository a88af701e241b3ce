"""The row of MASt3R."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.config import Config
from spann3r_ros.models.dust3r.family import described
from spann3r_ros.models.dust3r.files import published_tensors
from spann3r_ros.models.family import Architecture, Family
from spann3r_ros.models.mast3r import files
from spann3r_ros.models.mast3r.architecture import TINY, Mast3rArchitecture
from spann3r_ros.models.mast3r.parameters import Mast3rParameters

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import PairModel


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.mast3r.network import Mast3rNetwork

    assert isinstance(architecture, Mast3rArchitecture)
    return Mast3rNetwork(architecture)


def _model(network: nn.Module, config: Config, weights: str) -> PairModel:
    from spann3r_ros.models.mast3r.model import Mast3r
    from spann3r_ros.models.mast3r.network import Mast3rNetwork

    assert isinstance(network, Mast3rNetwork)
    return Mast3r(network, config, weights)


def _described(architecture: Architecture) -> str:
    assert isinstance(architecture, Mast3rArchitecture)
    return ", ".join([*described(architecture), f"descriptors of {architecture.descriptor_width}"])


MAST3R = Family(
    name="mast3r",
    title="MASt3R",
    summary="each image against the last keyframe, in meters, with descriptors that match pixels (Leroy et al. 2024)",
    kind="pair",
    paper="2406.09756",
    memory="the reference image",
    architecture=Mast3rArchitecture(),
    tiny=TINY,
    tensors=("enc_blocks.", "downstream_head1.head_local_features."),
    files=files.OFFICIAL_FILES,
    network=_network,
    model=_model,
    published=published_tensors,
    architecture_of=files.architecture_of,
    described=_described,
    parameters=Mast3rParameters,
)
