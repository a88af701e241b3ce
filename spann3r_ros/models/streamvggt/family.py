"""The row of StreamVGGT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.config import Config
from spann3r_ros.models.family import Architecture, Family
from spann3r_ros.models.streamvggt import files
from spann3r_ros.models.streamvggt.architecture import TINY, StreamVggtArchitecture
from spann3r_ros.models.streamvggt.parameters import StreamVggtParameters
from spann3r_ros.models.vggt.family import TENSORS, described
from spann3r_ros.models.vggt.files import published_tensors

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import Stream


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.streamvggt.network import StreamVggtNetwork

    assert isinstance(architecture, StreamVggtArchitecture)
    return StreamVggtNetwork(architecture)


def _model(network: nn.Module, config: Config, weights: str) -> Stream:
    from spann3r_ros.models.base import ModelStream
    from spann3r_ros.models.streamvggt.model import StreamVggt
    from spann3r_ros.models.streamvggt.network import StreamVggtNetwork

    assert isinstance(network, StreamVggtNetwork)
    return ModelStream(StreamVggt(network, config, weights))


STREAMVGGT = Family(
    name="streamvggt",
    title="StreamVGGT",
    summary="VGGT as a stream: each image against keys and values of past ones (Zhuo et al. 2025)",
    kind="streaming",
    paper="2507.11539",
    memory="keys and values of frames, bounded: the first, the newest, the most attended",
    architecture=StreamVggtArchitecture(),
    tiny=TINY,
    poses="network",
    tensors=TENSORS,
    files=files.OFFICIAL_FILES,
    network=_network,
    model=_model,
    published=published_tensors,
    architecture_of=files.architecture_of,
    described=described,
    parameters=StreamVggtParameters,
)
