"""The row of the toy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spann3r_ros.config import Config
from spann3r_ros.models.checkpoint.download import CC_BY_NC_SA, OfficialFile, Url
from spann3r_ros.models.family import Architecture, Family, Shapes
from toy_family.architecture import ToyArchitecture
from toy_family.parameters import ToyParameters

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import Stream
    from spann3r_ros.models.checkpoint.tensor_file import TensorFile


def _network(architecture: Architecture) -> nn.Module:
    from toy_family.network import ToyNetwork

    assert isinstance(architecture, ToyArchitecture)
    return ToyNetwork(architecture)


def _model(network: nn.Module, config: Config, weights: str) -> Stream:
    from spann3r_ros.models.base import ModelStream
    from toy_family.model import Toy
    from toy_family.network import ToyNetwork

    assert isinstance(network, ToyNetwork)
    return ModelStream(Toy(network, config, weights))


def _published(file: TensorFile) -> tuple[dict[str, Any], tuple[str, ...]]:
    return dict(file.tensors), ()


def _architecture_of(_file: TensorFile, shapes: Shapes) -> tuple[Architecture, str]:
    return ToyArchitecture(rows=shapes["plane"][0]), "shapes"


TOY = Family(
    name="toy",
    title="Toy",
    summary="one plane, whatever the images show",
    kind="streaming",
    paper="0000.00000",
    memory="a number",
    architecture=ToyArchitecture(rows=5),
    tensors=("plane",),
    files=(
        OfficialFile(
            "toy-plane",
            "plane.pth",
            Url("https://example.org/plane.pth"),
            0.001,
            CC_BY_NC_SA,
            commercial=False,
            note="-",
        ),
    ),
    network=_network,
    model=_model,
    published=_published,
    architecture_of=_architecture_of,
    described=lambda architecture: f"a plane for images {architecture.image_size}",
    parameters=ToyParameters,
)
