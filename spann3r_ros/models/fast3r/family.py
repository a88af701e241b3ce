"""The row of Fast3R."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.config import Config
from spann3r_ros.models.dust3r.files import distinct_tensors
from spann3r_ros.models.family import Architecture, Family
from spann3r_ros.models.fast3r import files
from spann3r_ros.models.fast3r.architecture import TINY, Fast3rArchitecture
from spann3r_ros.models.fast3r.parameters import Fast3rParameters

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import WindowModel


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.fast3r.network import Fast3rNetwork

    assert isinstance(architecture, Fast3rArchitecture)
    return Fast3rNetwork(architecture)


def _model(network: nn.Module, config: Config, weights: str) -> WindowModel:
    from spann3r_ros.models.fast3r.model import Fast3r
    from spann3r_ros.models.fast3r.network import Fast3rNetwork

    assert isinstance(network, Fast3rNetwork)
    return Fast3r(network, config, weights)


def _described(architecture: Architecture) -> str:
    assert isinstance(architecture, Fast3rArchitecture)
    a = architecture
    height, width = a.image_size
    return ", ".join(
        [
            f"encoder {a.encoder_depth} x {a.encoder_width} ({a.encoder_heads} heads)",
            f"fusion {a.decoder_depth} x {a.decoder_width} ({a.decoder_heads} heads)",
            "global and local dpt heads" if a.local_head else "global dpt head",
            f"patch {a.patch_size}",
            f"images {width} x {height}",
            "metric" if a.metric else "unit unknown",
        ]
    )


FAST3R = Family(
    name="fast3r",
    title="Fast3R",
    summary="windows of images, all at once (Yang et al. 2025)",
    kind="window",
    paper="2501.13928",
    memory="the frames of a window",
    architecture=Fast3rArchitecture(),
    tiny=TINY,
    tensors=("encoder.enc_blocks.", "decoder.dec_blocks."),
    files=files.OFFICIAL_FILES,
    network=_network,
    model=_model,
    published=distinct_tensors,
    architecture_of=files.architecture_of,
    described=_described,
    parameters=Fast3rParameters,
)
