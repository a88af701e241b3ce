"""The row of SALAD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.models.family import Architecture, DescriptorFamily
from spann3r_ros.models.salad import files
from spann3r_ros.models.salad.architecture import TINY, SaladArchitecture

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import PlaceDescriptor


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.salad.network import SaladNetwork

    assert isinstance(architecture, SaladArchitecture)
    return SaladNetwork(architecture)


def _descriptor(network: nn.Module, weights: str) -> PlaceDescriptor:
    from spann3r_ros.models.salad.model import Salad
    from spann3r_ros.models.salad.network import SaladNetwork

    assert isinstance(network, SaladNetwork)
    return Salad(network, weights)


def _described(architecture: Architecture) -> str:
    assert isinstance(architecture, SaladArchitecture)
    a = architecture
    height, width = a.image_size
    parts = [
        f"encoder {a.encoder.depth} x {a.encoder.width} ({a.encoder.heads} heads)",
        f"{a.clusters} clusters of {a.cluster_width}",
        f"descriptors of {a.descriptor_width}",
        f"images {width} x {height}",
    ]
    return ", ".join(parts)


SALAD = DescriptorFamily(
    name="salad",
    title="SALAD",
    summary="one vector that recognizes the place of an image (Izquierdo and Civera 2024)",
    kind="descriptor",
    paper="2311.15937",
    memory="none",
    architecture=SaladArchitecture(),
    tiny=TINY,
    poses="none",
    tensors=files.TENSORS,
    files=files.OFFICIAL_FILES,
    network=_network,
    descriptor=_descriptor,
    published=files.published_tensors,
    architecture_of=files.architecture_of,
    described=_described,
)
