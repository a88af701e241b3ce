"""The row of CUT3R."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.config import Config
from spann3r_ros.models.cut3r import files
from spann3r_ros.models.cut3r.architecture import TINY, Cut3rArchitecture
from spann3r_ros.models.cut3r.parameters import Cut3rParameters
from spann3r_ros.models.family import Architecture, Family

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import Stream


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.cut3r.network import Cut3rNetwork

    assert isinstance(architecture, Cut3rArchitecture)
    return Cut3rNetwork(architecture)


def _model(network: nn.Module, config: Config, weights: str) -> Stream:
    from spann3r_ros.models.base import ModelStream
    from spann3r_ros.models.cut3r.model import Cut3r
    from spann3r_ros.models.cut3r.network import Cut3rNetwork

    assert isinstance(network, Cut3rNetwork)
    return ModelStream(Cut3r(network, config, weights))


def _described(architecture: Architecture) -> str:
    assert isinstance(architecture, Cut3rArchitecture)
    a = architecture
    height, width = a.image_size
    return ", ".join(
        [
            f"encoder {a.encoder_depth} x {a.encoder_width} ({a.encoder_heads} heads)",
            f"decoders {a.decoder_depth} x {a.decoder_width} ({a.decoder_heads} and {a.state_heads} heads)",
            f"state of {a.state_tokens} tokens",
            f"pose memory of {a.pose_rows} rows",
            f"{a.head} heads",
            f"patch {a.patch_size}",
            f"images {width} x {height}",
            "metric" if a.metric else "unit unknown",
        ]
    )


CUT3R = Family(
    name="cut3r",
    title="CUT3R",
    summary="a stream of images into one frame, with a state that each of them rewrites (Wang et al. 2025)",
    kind="streaming",
    paper="2501.12387",
    memory="a state and a memory of poses, both of fixed size",
    architecture=Cut3rArchitecture(),
    tiny=TINY,
    poses="network",
    tensors=("enc_blocks.", "decoder_embed_state."),
    files=files.OFFICIAL_FILES,
    network=_network,
    model=_model,
    published=files.published_tensors,
    architecture_of=files.architecture_of,
    described=_described,
    parameters=Cut3rParameters,
)
