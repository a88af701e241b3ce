"""DUSt3R's official files: where they are, what their tensors are called, and how they tell the network's sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import CC_BY_NC_SA, HubRepository, OfficialFile, Url
from spann3r_ros.models.checkpoint.shapes import depth, mlp_ratio, shape_of
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.dust3r.keywords import fields_from_constructor, fields_from_keywords, trunk_from_config
from spann3r_ros.models.family import Shapes

if TYPE_CHECKING:
    import torch

    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

HEAD_DIM = 64
"""Channels of one attention head in every official network; shapes of tensors do not tell it."""

_HOST = "https://download.europe.naverlabs.com/ComputerVision/DUSt3R"
_LARGE = "DUSt3R_ViTLarge_BaseDecoder_512_dpt"
_SMALL = "DUSt3R_ViTLarge_BaseDecoder_224_linear"
_NOTE = "The licenses of its training sets apply as well"

OFFICIAL_FILES = (
    OfficialFile(
        "dust3r-512-dpt", f"{_LARGE}.pth", Url(f"{_HOST}/{_LARGE}.pth"), 2.3, CC_BY_NC_SA, commercial=False, note=_NOTE
    ),
    OfficialFile(
        "dust3r-512-dpt-hub",
        "model.safetensors",
        HubRepository(f"naver/{_LARGE}", ("config.json", "model.safetensors")),
        2.3,
        CC_BY_NC_SA,
        commercial=False,
        note=f"The same as safetensors. {_NOTE}",
    ),
    OfficialFile(
        "dust3r-224-linear",
        f"{_SMALL}.pth",
        Url(f"{_HOST}/{_SMALL}.pth"),
        2.1,
        CC_BY_NC_SA,
        commercial=False,
        note=_NOTE,
    ),
)

# Published tensors without a use in inference.
_UNUSED = re.compile(r"(^|\.)mask_token$|\.scratch\.refinenet4\.resConfUnit1\.")


def published_tensors(file: TensorFile) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Each shared tensor once, no unused ones; a second decoder that is missing is a copy of the first."""
    state, unused = distinct_tensors(file)
    if not any("dec_blocks2." in name for name in state):
        copy_decoder(state, "dec_blocks2.")
    return state, unused


def copy_decoder(state: dict[str, torch.Tensor], second: str) -> None:
    """Add a second decoder, the prefix of whose tensors is ``second``, that begins as a copy of ``dec_blocks.``."""
    for name in [name for name in state if "dec_blocks." in name]:
        # A copy, not the same storage: training must be able to move them apart.
        state[name.replace("dec_blocks.", second)] = state[name].clone()


def distinct_tensors(file: TensorFile) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Each tensor that the heads' networks share once, under the name of the list; and the names that are not needed.

    Raises:
        CheckpointError: two tensors that are one in the network differ.
    """
    state: dict[str, torch.Tensor] = {}
    unused: list[str] = []
    for name, tensor in file.tensors.items():
        published = re.sub(r"\.scratch\.layer([1-4])_rn\.", _listed_layer, name)
        if _UNUSED.search(name):
            unused.append(name)
        elif published not in state:
            state[published] = tensor
        elif state[published].data_ptr() == tensor.data_ptr() or _equal(state[published], tensor):
            unused.append(name)
        else:
            raise CheckpointError(
                f"{file.path}: two tensors that are one in the network differ",
                got=f"{name} and its twin",
                next_step="Fetch it again: `python -m spann3r_ros models fetch NAME`",
            )
    return state, tuple(unused)


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _listed_layer(match: re.Match[str]) -> str:
    return f".scratch.layer_rn.{int(match.group(1)) - 1}."


def architecture_of(file: TensorFile, shapes: Shapes) -> tuple[Dust3rArchitecture, str]:
    """Sizes from the config.json beside the file, its training arguments, or the shapes alone; and which it was."""
    beside = config_beside(file)
    if beside is not None:
        where, config = beside
        if isinstance(config.get("model"), dict):
            return trunk_from_config(config), str(where)
        return _from_shapes(shapes, fields_from_keywords(config), str(where)), str(where)
    if file.model is not None:
        where_stated = "training arguments"
        return _from_shapes(shapes, fields_from_constructor(file.model), where_stated), where_stated
    return _from_shapes(shapes, {}, ""), "shapes"


def config_beside(file: TensorFile) -> tuple[Path, dict[str, Any]] | None:
    """The ``config.json`` beside a .safetensors and its content, or None; CheckpointError for one that is none."""
    path = file.path.with_name("config.json")
    if file.path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON", got=error) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} describes no network", got=type(config).__name__, expected="an object")
    return path, config


def _from_shapes(shapes: Shapes, stated: Mapping[str, Any], where: str) -> Dust3rArchitecture:
    return Dust3rArchitecture(**trunk_fields(shapes, stated, where))


def trunk_fields(shapes: Shapes, stated: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fields of ``Dust3rArchitecture`` that tensors have.

    Args:
        shapes: by the published names, without the prefix ``dust3r.``.
        stated: fields known from elsewhere. What is known from nowhere is as in the official networks: heads of 64
            channels, exponential activations.
        where: where ``stated`` stood, for the error.

    Raises:
        CheckpointError: tensors too few to tell, or ``stated`` contradicts them.
    """
    fields = fields_from_shapes(shapes)
    for key, value in stated.items():
        if fields.get(key, value) != value:
            raise CheckpointError(f"{where} says {key} = {value}, but the tensors have {fields[key]}")
    fields.update(stated)
    for which in ("encoder", "decoder"):
        width = fields[f"{which}_width"]
        if f"{which}_heads" not in fields and width % HEAD_DIM:
            raise CheckpointError(
                f"number of attention heads of the {which}",
                got=f"width {width} and no description of the network",
                expected=f"a multiple of {HEAD_DIM}",
                next_step="Put the network's config.json beside the file",
            )
        fields.setdefault(f"{which}_heads", width // HEAD_DIM)
    return fields


def fields_from_shapes(shapes: Shapes) -> dict[str, Any]:
    """Fields of ``Dust3rArchitecture`` that the shapes of a trunk's tensors tell: all sizes but the numbers of heads.

    Args:
        shapes: by the published names without the prefix ``dust3r.``.

    Raises:
        CheckpointError: a tensor that tells a size is missing or has the wrong number of axes.
    """
    patch = shape_of(shapes, "patch_embed.proj.weight", 4)
    fields: dict[str, Any] = {
        "patch_size": patch[2],
        "encoder_width": patch[0],
        "encoder_depth": depth(shapes, "enc_blocks."),
        "decoder_width": shape_of(shapes, "decoder_embed.weight", 2)[0],
        "decoder_depth": depth(shapes, "dec_blocks."),
        "mlp_ratio": mlp_ratio(shapes, "enc_blocks.0"),
        "head": "dpt" if any(name.startswith("downstream_head1.dpt.") for name in shapes) else "linear",
    }
    if fields["head"] == "dpt":
        dpt = "downstream_head1.dpt"
        levels = [shape_of(shapes, f"{dpt}.scratch.layer_rn.{level}.weight", 4) for level in range(4)]
        fields["dpt_layer_widths"] = tuple(level[1] for level in levels)
        fields["dpt_width"] = levels[0][0]
        fields["dpt_last_width"] = shape_of(shapes, f"{dpt}.head.4.weight", 4)[1]
    return fields
