"""The row of VGGT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.config import Config
from spann3r_ros.models.family import Architecture, Family
from spann3r_ros.models.vggt import files
from spann3r_ros.models.vggt.architecture import TINY, VggtArchitecture
from spann3r_ros.models.vggt.parameters import VggtParameters

if TYPE_CHECKING:
    from torch import nn

    from spann3r_ros.models.base import WindowModel

TENSORS = ("aggregator.frame_blocks.", "aggregator.global_blocks.", "camera_head.")


def _network(architecture: Architecture) -> nn.Module:
    from spann3r_ros.models.vggt.network import VggtNetwork

    assert isinstance(architecture, VggtArchitecture)
    return VggtNetwork(architecture)


def _model(network: nn.Module, config: Config, weights: str) -> WindowModel:
    from spann3r_ros.models.vggt.model import Vggt
    from spann3r_ros.models.vggt.network import VggtNetwork

    assert isinstance(network, VggtNetwork)
    return Vggt(network, config, weights)


def described(architecture: Architecture) -> str:
    """The sizes in words."""
    assert isinstance(architecture, VggtArchitecture)
    a = architecture
    heads = [name for name, there in (("depth", a.has_depth), ("points", a.has_points)) if there]
    parts = [
        f"encoder {a.encoder.depth} x {a.width} ({a.encoder.heads} heads)",
        f"aggregator 2 x {a.depth} x {a.width} ({a.heads} heads)",
        f"camera head {a.camera_depth} x {2 * a.width}",
        f"heads of {' and '.join(heads)}",
        f"patch {a.patch_size}",
        f"images {a.image_size[1]} px wide",
        "metric" if a.metric else "unit unknown",
    ]
    return ", ".join(parts)


VGGT = Family(
    name="vggt",
    title="VGGT",
    summary="a window of images at once: cameras, depths and points in one frame (Wang et al. 2025)",
    kind="window",
    paper="2503.11651",
    memory="the frames that two windows share",
    architecture=VggtArchitecture(),
    tiny=TINY,
    tensors=TENSORS,
    files=files.OFFICIAL_FILES,
    network=_network,
    model=_model,
    published=files.published_tensors,
    architecture_of=files.architecture_of,
    described=described,
    parameters=VggtParameters,
)
