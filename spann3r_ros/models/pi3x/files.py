"""The official file of Pi3X: where it is, and how its tensors tell the network's sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.blocks.sizes import DinoSizes
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import CC_BY_NC, HubRepository, OfficialFile
from spann3r_ros.models.checkpoint.shapes import depth, heads_of, shape_of
from spann3r_ros.models.family import Shapes
from spann3r_ros.models.pi3 import files as pi3
from spann3r_ros.models.pi3.architecture import Pi3Architecture
from spann3r_ros.models.pi3x.architecture import INJECT_AFTER, Pi3xArchitecture

if TYPE_CHECKING:
    import torch

    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

OFFICIAL_FILES = (
    OfficialFile(
        "pi3x-large",
        "model.safetensors",
        HubRepository("yyfz233/Pi3X", ("model.safetensors",)),
        5.4,
        CC_BY_NC,
        commercial=False,
        note="Its authors write: strictly non-commercial",
    ),
)

CONDITION_PARTS = ("depth_encoder.", "depth_emb", "ray_embed.", "pose_inject_blk.")
"""Beginnings of the tensors that take depth, rays and poses; a file for images alone may lack them."""


def published_tensors(file: TensorFile) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """As of pi^3; of the parts for conditions, all or none."""
    state, unused = pi3.published_tensors(file)
    if not all(any(name.startswith(part) for name in state) for part in CONDITION_PARTS):
        surplus = tuple(name for name in state if name.startswith(CONDITION_PARTS))
        state, unused = {name: tensor for name, tensor in state.items() if name not in surplus}, (*unused, *surplus)
    return state, unused


def architecture_of(_file: TensorFile, shapes: Shapes) -> tuple[Pi3xArchitecture, str]:
    """Sizes from the shapes alone; what no shape tells is as in the official network.

    Raises:
        CheckpointError: too few tensors, or a decoder of another depth, for which no shape tells where poses enter.
    """
    trunk = Pi3Architecture(**pi3.trunk_fields(shapes))
    conditioned = any(name.startswith("ray_embed.") for name in shapes)
    stages = [shape_of(shapes, f"point_head.upsample_blocks.{number}.0.0.weight", 4)[1] for number in range(3)]
    metric_width = shape_of(shapes, "metric_decoder.projects_x.weight", 2)[0]
    taken = DinoSizes(channels=2)
    if conditioned:
        taken = pi3.encoder_sizes(shapes, "depth_encoder")
        injections = depth(shapes, "pose_inject_blk.")
        if injections != len(INJECT_AFTER) or trunk.decoder_depth <= max(INJECT_AFTER):
            raise CheckpointError(
                "blocks of the decoder after which poses are told to it",
                got=f"{injections} for a decoder of {trunk.decoder_depth}, and no description of the network",
                expected=f"{len(INJECT_AFTER)} for a decoder of 36",
                next_step="Write the weights with models.checkpoint.reading.write_checkpoint, which states the sizes",
            )
    architecture = Pi3xArchitecture(
        trunk=trunk,
        upsample=(stages[0], stages[1], stages[2]),
        last_width=shape_of(shapes, "point_head.output_block.0.0.weight", 4)[0],
        metric_width=metric_width,
        metric_heads=heads_of(metric_width, "metric decoder"),
        metric_depth=depth(shapes, "metric_decoder.blocks."),
        conditioned=conditioned,
        depth_encoder=taken,
    )
    return architecture, "shapes"
