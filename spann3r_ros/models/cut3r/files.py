"""CUT3R's official files: where they are, what their tensors are called, and how they tell the network's sizes."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import CC_BY_NC_SA, DriveFile, OfficialFile
from spann3r_ros.models.checkpoint.shapes import depth
from spann3r_ros.models.cut3r.architecture import Cut3rArchitecture
from spann3r_ros.models.dust3r.files import copy_decoder, distinct_tensors, trunk_fields
from spann3r_ros.models.dust3r.keywords import literal, shortened
from spann3r_ros.models.family import Shapes

if TYPE_CHECKING:
    import torch

    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

_NOTE = "The licenses of its training sets apply as well; derived from DUSt3R's weights"

OFFICIAL_FILES = (
    OfficialFile(
        "cut3r-512-dpt",
        "cut3r_512_dpt_4_64.pth",
        DriveFile("1Asz-ZB3FfpzZYwunhQvNPZEUA8XUNAYD", "cut3r_512_dpt_4_64.pth"),
        3.2,
        CC_BY_NC_SA,
        commercial=False,
        note=_NOTE,
    ),
    OfficialFile(
        "cut3r-224-linear",
        "cut3r_224_linear_4.pth",
        DriveFile("11dAgFkWHpaOHsR6iuitlB_v4NFFBrWjy", "cut3r_224_linear_4.pth"),
        3.0,
        CC_BY_NC_SA,
        commercial=False,
        note=f"From an early stage of the training. {_NOTE}",
    ),
)

STATE_HEADS = 16
"""Attention heads of the state's decoder in every official network; shapes of tensors do not tell it."""

# Tokens for training with images and ray maps mixed.
_UNUSED = ("masked_img_token", "masked_ray_map_token")

# Keywords of the published description whose other values mean a network that does not exist here.
_ONLY: dict[str, tuple[Any, ...]] = {
    "rgb_head": (True,),
    "pose_head": (True,),
    "output_mode": ("pts3d+pose",),
    "patch_embed_cls": ("PatchEmbedDust3R", "ManyAR_PatchEmbed"),
}


def published_tensors(file: TensorFile) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Each shared tensor once, no unused ones; a state's decoder that is missing is a copy of the image's."""
    state, unused = distinct_tensors(file)
    dropped = [name for name in _UNUSED if state.pop(name, None) is not None]
    if not any(name.startswith("dec_blocks_state.") for name in state):
        copy_decoder(state, "dec_blocks_state.")
    return state, (*unused, *dropped)


def architecture_of(file: TensorFile, shapes: Shapes) -> tuple[Cut3rArchitecture, str]:
    """Sizes from the shapes, and what they do not tell from the training arguments; and which it was."""
    stated = {} if file.model is None else stated_fields(file.model)
    where = "shapes" if file.model is None else "training arguments"
    trunk = {
        name.replace("downstream_head.dpt_self.", "downstream_head1.dpt."): shape for name, shape in shapes.items()
    }
    fields = trunk_fields(trunk, stated, where)
    for name, field, axis in (("register_tokens.weight", "state_tokens", 0), ("pose_retriever.mem", "pose_rows", 1)):
        if len(shapes.get(name, ())) <= axis:
            raise CheckpointError(f"tensor {name}, which tells the size of the network,", got="nothing of that shape")
        if fields.setdefault(field, shapes[name][axis]) != shapes[name][axis]:
            raise CheckpointError(f"{where} says {field} = {fields[field]}, but the tensors have {shapes[name][axis]}")
    fields["ray_depth"] = depth(shapes, "enc_blocks_ray_map.")
    fields.setdefault("state_heads", STATE_HEADS)
    is_dpt = fields["head"] == "dpt"
    return Cut3rArchitecture(**{"image_size": (384, 512) if is_dpt else (224, 224), "metric": is_dpt, **fields}), where


def stated_fields(text: str) -> dict[str, Any]:
    """Fields of ``Cut3rArchitecture`` that the published description states: a constructor call with keywords.

    The text is parsed, never evaluated. Keywords of the training are ignored, whatever they are: the tensors tell all
    sizes.

    Raises:
        CheckpointError: something else than a call, a value of a known keyword that is no literal, or one that means a
            network which does not exist here.
    """
    fields: dict[str, Any] = {}
    for key, node in _keywords(text).items():
        if key in _ONLY and (value := literal(node)) not in _ONLY[key]:
            expected = " or ".join(map(repr, _ONLY[key]))
            raise CheckpointError(f"keyword '{key}' of the network's description", got=repr(value), expected=expected)
        if key in _READERS:
            value = literal(node)
            try:
                fields |= _READERS[key](value)
            except (TypeError, ValueError) as error:
                raise CheckpointError(f"keyword '{key}' of the network's description", got=repr(value)) from error
    return fields


def _keywords(text: str) -> dict[str, ast.expr]:
    """Keyword arguments of a call, and of the calls that stand among its arguments without a name."""
    problem, expected = "description of the network in the checkpoint's 'args'", "Name(keyword=literal, ...)"
    try:
        pending: list[ast.expr] = [ast.parse(text.strip(), mode="eval").body]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(problem, got=shortened(text), expected=expected) from error
    found: dict[str, ast.expr] = {}
    while pending:
        call = pending.pop()
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise CheckpointError(problem, got=shortened(text), expected=expected)
        pending += call.args
        found |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
    return found


def _mode(field: str) -> Any:
    def read(value: Any) -> dict[str, Any]:
        mode, low, high = value
        if (float(low), float(high)) != (-math.inf, math.inf):
            raise ValueError(f"bounds {low} and {high}")
        return {field: str(mode)}

    return read


def _confidence(value: Any) -> dict[str, Any]:
    mode, low, high = value
    return {"confidence_mode": str(mode), "confidence_range": (float(low), float(high))}


def _rope(value: Any) -> dict[str, Any]:
    match = re.fullmatch(r"RoPE(\d+(?:\.\d+)?)", str(value))
    if match is None:
        raise ValueError(f"positions {value!r}")
    return {"rope_base": float(match.group(1))}


def _number(field: str) -> Any:
    return lambda value: {field: int(value)}


_READERS: dict[str, Any] = {
    "pos_embed": _rope,
    "state_pe": lambda value: {"state_positions": str(value)},
    "head_type": lambda value: {"head": str(value)},
    "depth_mode": _mode("depth_mode"),
    "pose_mode": _mode("pose_mode"),
    "conf_mode": _confidence,
    "enc_embed_dim": _number("encoder_width"),
    "enc_depth": _number("encoder_depth"),
    "enc_num_heads": _number("encoder_heads"),
    "dec_embed_dim": _number("decoder_width"),
    "dec_depth": _number("decoder_depth"),
    "dec_num_heads": _number("decoder_heads"),
    "state_dec_num_heads": _number("state_heads"),
    "state_size": _number("state_tokens"),
    "local_mem_size": _number("pose_rows"),
}


def architecture_from_config(config: Mapping[str, Any], head: str) -> Cut3rArchitecture:
    """The network that the configuration of recorded test vectors describes in its ``model``, with a kind of head.

    Raises:
        CheckpointError: sizes that are fixed by others here, but are not in the configuration.
    """
    sizes = config["model"]
    fixed = {
        "pose_retriever_heads": sizes["dec_num_heads"],
        "final_transform_heads": sizes["dec_num_heads"],
        "pose_retriever_width": 2 * sizes["dec_embed_dim"],
    }
    for key, value in fixed.items():
        if sizes.get(key, value) != value:
            raise CheckpointError(
                f"'{key}' of a CUT3R network", got=sizes[key], expected=f"{value}, set by the decoder"
            )
    read = {field: value for key in _READERS if key in sizes for field, value in _READERS[key](sizes[key]).items()}
    fields = {
        **read,
        "patch_size": int(sizes["patch_size"]),
        "ray_depth": int(sizes["ray_enc_depth"]),
        "mlp_ratio": float(sizes["mlp_ratio"]),
        "rope_base": float(sizes["rope_base"]),
        "dpt_width": int(sizes["dpt_feature_dim"]),
        "dpt_last_width": int(sizes["dpt_last_dim"]),
        "dpt_layer_widths": tuple(int(width) for width in sizes["dpt_layer_dims"]),
        "head": head,
    }
    return Cut3rArchitecture(**fields)
