"""VGGT's official files: where they are, what may be done with them, and how they tell the network's sizes."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import NON_COMMERCIAL, VGGT_LICENSE, HubRepository, OfficialFile
from spann3r_ros.models.checkpoint.shapes import depth as depth_of
from spann3r_ros.models.checkpoint.shapes import mlp_ratio, shape_of
from spann3r_ros.models.family import Shapes
from spann3r_ros.models.vggt.architecture import VggtArchitecture

if TYPE_CHECKING:
    import torch

    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

HEAD_DIM = 64
"""Channels of a head of the official image encoder; those of the camera head's trunk are twice as wide."""

OFFICIAL_FILES = (
    OfficialFile(
        "vggt-1b",
        "model.pt",
        HubRepository("facebook/VGGT-1B", ("model.pt",)),
        5.0,
        NON_COMMERCIAL,
        commercial=False,
        note="Not for commercial use; vggt-1b-commercial is the same network under another license",
    ),
    OfficialFile(
        "vggt-1b-safetensors",
        "model.safetensors",
        HubRepository("facebook/VGGT-1B", ("model.safetensors",)),
        5.0,
        NON_COMMERCIAL,
        commercial=False,
        note="The same as vggt-1b",
    ),
    OfficialFile(
        "vggt-1b-commercial",
        "vggt_1B_commercial.pt",
        HubRepository("facebook/VGGT-1B-Commercial", ("vggt_1B_commercial.pt",)),
        5.0,
        VGGT_LICENSE,
        commercial=True,
        note="Ask for access on its page, and log in with `hf auth login` before you fetch it",
    ),
)

_UNUSED = re.compile(r"^track_head\.|^aggregator\.patch_embed\.mask_token$")


def published_tensors(file: TensorFile) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """All tensors but those of the head that tracks points and the mask token, which inference does not need."""
    unused = tuple(name for name in file.tensors if _UNUSED.search(name))
    return {name: tensor for name, tensor in file.tensors.items() if name not in unused}, unused


def architecture_of(_file: TensorFile, shapes: Shapes) -> tuple[VggtArchitecture, str]:
    """Sizes from the shapes of the tensors; what they do not tell is as in the official networks."""
    return VggtArchitecture(**fields_from_shapes(shapes)), "shapes"


def fields_from_shapes(shapes: Shapes) -> dict[str, Any]:
    """Fields of ``VggtArchitecture`` that tensors have; heads of 64 channels in the encoder, of 128 in the camera head.

    Raises:
        CheckpointError: tensors too few to tell, or of a network of another depth, whose dense heads would read nobody
            knows which layers.
    """
    width, _, patch, _ = shape_of(shapes, "aggregator.patch_embed.patch_embed.proj.weight", 4)
    native_grid = math.isqrt(shape_of(shapes, "aggregator.patch_embed.pos_embed", 3)[1] - 1)
    depth = depth_of(shapes, "aggregator.global_blocks.")
    official = VggtArchitecture()
    if depth != official.depth or width % (2 * HEAD_DIM):
        raise CheckpointError(
            "VGGT network without a description",
            got=f"{depth} layers, width {width}",
            expected=f"{official.depth} layers, a width that is a multiple of {2 * HEAD_DIM}",
            next_step="Which layers its dense heads read cannot be told from the tensors; this package writes files "
            "that say it",
        )
    dense = "depth_head" if "depth_head.norm.weight" in shapes else "point_head"
    rows = patch * round(0.75 * native_grid)
    return {
        "encoder": DinoSizes(
            patch_size=patch,
            width=width,
            depth=depth_of(shapes, "aggregator.patch_embed.blocks."),
            heads=width // HEAD_DIM,
            mlp_ratio=mlp_ratio(shapes, "aggregator.patch_embed.blocks.0"),
            registers=shape_of(shapes, "aggregator.patch_embed.register_tokens", 3)[1],
            native_grid=native_grid,
        ),
        "depth": depth,
        "heads": width // shape_of(shapes, "aggregator.global_blocks.0.attn.q_norm.weight", 1)[0],
        "mlp_ratio": mlp_ratio(shapes, "aggregator.global_blocks.0"),
        "registers": shape_of(shapes, "aggregator.register_token", 4)[2],
        "camera_depth": depth_of(shapes, "camera_head.trunk."),
        "camera_heads": width // HEAD_DIM,
        "camera_mlp_ratio": mlp_ratio(shapes, "camera_head.trunk.0"),
        "dpt_width": shape_of(shapes, f"{dense}.scratch.layer1_rn.weight", 4)[0],
        "dpt_last_width": shape_of(shapes, f"{dense}.scratch.output_conv2.0.weight", 4)[0],
        "dpt_layer_widths": tuple(shape_of(shapes, f"{dense}.projects.{level}.weight", 4)[0] for level in range(4)),
        "has_depth": "depth_head.norm.weight" in shapes,
        "has_points": "point_head.norm.weight" in shapes,
        "image_size": (rows, patch * native_grid),
    }
