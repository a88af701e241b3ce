"""SALAD's official file: where it is, and how it tells the network's sizes."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import UNSTATED, OfficialFile, Url
from spann3r_ros.models.family import Shapes
from spann3r_ros.models.salad.architecture import SaladArchitecture

if TYPE_CHECKING:
    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

OFFICIAL_FILES = (
    OfficialFile(
        "salad-dinov2-b14",
        "dino_salad.ckpt",
        Url("https://github.com/serizba/salad/releases/download/v1.0.0/dino_salad.ckpt"),
        0.35,
        UNSTATED,
        commercial=False,
        note="The repository's code is under the GPL-3.0",
    ),
)

TENSORS = ("backbone.model.patch_embed.", "aggregator.dust_bin", "aggregator.score.0.")
"""Beginnings of names that tell SALAD from VGGT, which has an aggregator, too."""

HEAD_DIM = 64
"""Channels of one attention head in every published DINOv2; shapes of tensors do not tell it."""

_ENCODER = "backbone.model."
_UNUSED = f"{_ENCODER}mask_token"


def published_tensors(file: TensorFile) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The file's tensors but the mask token, which only training needs."""
    state = {name: tensor for name, tensor in file.tensors.items() if name != _UNUSED}
    return state, tuple(name for name in file.tensors if name == _UNUSED)


def architecture_of(_file: TensorFile, shapes: Shapes) -> tuple[SaladArchitecture, str]:
    """Sizes by the shapes; images are of the official size.

    Raises:
        CheckpointError: a tensor that tells a size is missing or has the wrong number of axes.
    """

    def shape(name: str, axes: int) -> tuple[int, ...]:
        found = shapes.get(name)
        if found is None or len(found) != axes:
            raise CheckpointError(
                f"tensor {name}, which tells a size of the network,",
                got="nothing" if found is None else f"shape {list(found)}",
                expected=f"{axes} axes",
            )
        return found

    width, _, patch, _ = shape(f"{_ENCODER}patch_embed.proj.weight", 4)
    if width % HEAD_DIM:
        raise CheckpointError("width of SALAD's encoder", got=width, expected=f"a multiple of {HEAD_DIM}")
    numbers = [int(match[1]) for name in shapes if (match := re.match(rf"{re.escape(_ENCODER)}blocks\.(\d+)\.", name))]
    encoder = DinoSizes(
        patch_size=patch,
        width=width,
        depth=1 + max(numbers, default=-1),
        heads=width // HEAD_DIM,
        mlp_ratio=shape(f"{_ENCODER}blocks.0.mlp.fc1.weight", 2)[0] / width,
        registers=0,
        native_grid=math.isqrt(shape(f"{_ENCODER}pos_embed", 3)[1] - 1),
        resize="offset",
    )
    clusters, hidden, _, _ = shape("aggregator.score.3.weight", 4)
    return SaladArchitecture(
        encoder,
        hidden,
        clusters,
        shape("aggregator.cluster_features.3.weight", 4)[0],
        shape("aggregator.token_features.2.weight", 2)[0],
    ), "shapes"
