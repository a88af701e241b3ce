"""The official files of pi^3: where they are, and how their tensors tell the network's sizes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import CC_BY_NC, HubRepository, OfficialFile
from spann3r_ros.models.checkpoint.shapes import depth, heads_of, mlp_ratio, shape_of
from spann3r_ros.models.family import Shapes
from spann3r_ros.models.pi3.architecture import Pi3Architecture

if TYPE_CHECKING:
    import torch

    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

OFFICIAL_FILES = (
    OfficialFile(
        "pi3-large",
        "model.safetensors",
        HubRepository("yyfz233/Pi3", ("model.safetensors",)),
        3.8,
        CC_BY_NC,
        commercial=False,
        note="Its authors write: strictly non-commercial",
    ),
)


def published_tensors(file: TensorFile) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors under their own names, less what DINOv2 masks images with in training."""
    unused = tuple(name for name in file.tensors if name.endswith("encoder.mask_token"))
    return {name: tensor for name, tensor in file.tensors.items() if name not in unused}, unused


def architecture_of(_file: TensorFile, shapes: Shapes) -> tuple[Pi3Architecture, str]:
    """Sizes from the shapes alone; what no shape tells is as in the official network."""
    return Pi3Architecture(**trunk_fields(shapes)), "shapes"


def trunk_fields(shapes: Shapes) -> dict[str, Any]:
    """Fields of ``Pi3Architecture`` that the tensors of pi^3 or Pi3X have; CheckpointError for too few tensors."""
    head_width = shape_of(shapes, "point_decoder.projects.weight", 2)[0]
    head_dim = shape_of(shapes, "decoder.0.attn.q_norm.weight", 1)[0]
    encoder = encoder_sizes(shapes, "encoder")
    if encoder.width % head_dim:
        expected = f"a divisor of the width, {encoder.width}"
        raise CheckpointError("channels of decoder.0.attn.q_norm", got=head_dim, expected=expected)
    return {
        "encoder": encoder,
        "decoder_depth": depth(shapes, "decoder."),
        "decoder_heads": encoder.width // head_dim,
        "mlp_ratio": mlp_ratio(shapes, "decoder.0"),
        "registers": shape_of(shapes, "register_token", 4)[2],
        "head_width": head_width,
        "head_heads": heads_of(head_width, "heads"),
        "head_depth": depth(shapes, "point_decoder.blocks."),
        "head_out": shape_of(shapes, "point_decoder.linear_out.weight", 2)[0],
        "camera_width": shape_of(shapes, "camera_decoder.linear_out.weight", 2)[0],
    }


def encoder_sizes(shapes: Shapes, prefix: str) -> DinoSizes:
    """Of a DINOv2 whose tensors begin with ``prefix`` and a dot."""
    width, channels, patch, _ = shape_of(shapes, f"{prefix}.patch_embed.proj.weight", 4)
    cells = shape_of(shapes, f"{prefix}.pos_embed", 3)[1] - 1
    side = math.isqrt(max(cells, 0))
    if side * side != cells:
        raise CheckpointError(f"positions in {prefix}.pos_embed", got=1 + cells, expected="1 + those of a square grid")
    return DinoSizes(
        patch_size=patch,
        width=width,
        depth=depth(shapes, f"{prefix}.blocks."),
        heads=heads_of(width, f"{prefix} (DINOv2)"),
        mlp_ratio=mlp_ratio(shapes, f"{prefix}.blocks.0"),
        registers=shape_of(shapes, f"{prefix}.register_tokens", 3)[1],
        native_grid=side,
        channels=channels,
    )
