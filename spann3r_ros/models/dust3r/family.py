"""The row of DUSt3R."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.config import Config
from spann3r_ros.models.dust3r import files
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.dust3r.parameters import Dust3rParameters
from spann3r_ros.models.family import Architecture, Family

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import PairModel


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.dust3r.network import Dust3rNetwork

    assert isinstance(architecture, Dust3rArchitecture)
    return Dust3rNetwork(architecture)


def _model(network: nn.Module, config: Config, weights: str) -> PairModel:
    from spann3r_ros.models.dust3r.model import Dust3r
    from spann3r_ros.models.dust3r.network import Dust3rNetwork

    assert isinstance(network, Dust3rNetwork)
    return Dust3r(network, config, weights)


def _described(architecture: Architecture) -> str:
    assert isinstance(architecture, Dust3rArchitecture)
    return ", ".join(described(architecture))


def described(a: Dust3rArchitecture) -> list[str]:
    """The sizes in words."""
    height, width = a.image_size
    return [
        f"encoder {a.encoder_depth} x {a.encoder_width} ({a.encoder_heads} heads)",
        f"decoders 2 x {a.decoder_depth} x {a.decoder_width} ({a.decoder_heads} heads)",
        f"{a.head} heads",
        f"patch {a.patch_size}",
        f"images {width} x {height}",
        "metric" if a.metric else "unit unknown",
    ]


DUST3R = Family(
    name="dust3r",
    title="DUSt3R",
    summary="each image against a reference image, without memory (Wang et al. 2024)",
    kind="pair",
    paper="2312.14132",
    memory="the reference image",
    architecture=Dust3rArchitecture(),
    tensors=("enc_blocks.",),
    files=files.OFFICIAL_FILES,
    network=_network,
    model=_model,
    published=files.published_tensors,
    architecture_of=files.architecture_of,
    described=_described,
    parameters=Dust3rParameters,
)
