"""The row of pi^3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.config import Config
from spann3r_ros.models.family import Architecture, Family
from spann3r_ros.models.pi3 import files
from spann3r_ros.models.pi3.architecture import TINY, Pi3Architecture
from spann3r_ros.models.pi3.parameters import Pi3Parameters

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import WindowModel


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.pi3.network import Pi3Network

    assert isinstance(architecture, Pi3Architecture)
    return Pi3Network(architecture)


def _model(network: nn.Module, config: Config, weights: str) -> WindowModel:
    from spann3r_ros.models.pi3.model import Pi3
    from spann3r_ros.models.pi3.network import Pi3Network

    assert isinstance(network, Pi3Network)
    return Pi3(network, config, weights)


def _described(architecture: Architecture) -> str:
    assert isinstance(architecture, Pi3Architecture)
    return ", ".join([*described(architecture), "unit unknown"])


def described(a: Pi3Architecture) -> list[str]:
    """The sizes in words."""
    return [
        f"encoder DINOv2 {a.encoder.depth} x {a.encoder.width} ({a.encoder.heads} heads)",
        f"decoder {a.decoder_depth} x {a.encoder.width} ({a.decoder_heads} heads)",
        f"heads 3 x {a.head_depth} x {a.head_width} ({a.head_heads} heads)",
        f"patch {a.patch_size}",
        f"images of up to {a.pixel_limit} pixels",
    ]


PI3 = Family(
    name="pi3",
    title="pi^3",
    summary="a set of images in no order, each with a pointmap and a pose of its own (Wang et al. 2025)",
    kind="window",
    paper="2507.13347",
    memory="the images of a window, bounded",
    architecture=Pi3Architecture(),
    tiny=TINY,
    tensors=("point_decoder.",),
    files=files.OFFICIAL_FILES,
    network=_network,
    model=_model,
    published=files.published_tensors,
    architecture_of=files.architecture_of,
    described=_described,
    parameters=Pi3Parameters,
    poses="network",
)
