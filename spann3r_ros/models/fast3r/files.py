"""Fast3R's official file: where it is, what its tensors are called, and how it tells the network's sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import FAIR_NC, HubRepository, OfficialFile
from spann3r_ros.models.dust3r.files import config_beside, trunk_fields
from spann3r_ros.models.family import Shapes
from spann3r_ros.models.fast3r.architecture import Fast3rArchitecture

if TYPE_CHECKING:
    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

OFFICIAL_FILES = (
    OfficialFile(
        "fast3r-512-dpt",
        "model.safetensors",
        HubRepository("jedyang97/Fast3R_ViT_Large_512", ("config.json", "model.safetensors")),
        2.6,
        FAIR_NC,
        commercial=False,
        note="Its license extends to what the network computes; derived from DUSt3R's weights",
    ),
)

# Published keywords by part of the description; what they set here.
_ENCODER = {
    "patch_size": "patch_size",
    "embed_dim": "encoder_width",
    "depth": "encoder_depth",
    "num_heads": "encoder_heads",
    "mlp_ratio": "mlp_ratio",
}
_FUSION = {
    "embed_dim": "decoder_width",
    "depth": "decoder_depth",
    "num_heads": "decoder_heads",
    "random_image_idx_embedding": "random_image_ids",
    "attn_bias_for_inference_enabled": "sharp_attention",
}
# Keywords whose other values mean a network that does not exist here.
_ONLY: dict[str, dict[str, Any]] = {
    "encoder_args": {"encoder_type": "croco"},
    "decoder_args": {"decoder_type": "fast3r", "qkv_bias": True},
    "head_args": {"head_type": "dpt", "output_mode": "pts3d"},
}


def architecture_of(file: TensorFile, shapes: Shapes) -> tuple[Fast3rArchitecture, str]:
    """Sizes from the tensors, and what they do not tell from the config.json beside the file; and which it was."""
    beside = config_beside(file)
    stated = {} if beside is None else stated_fields(beside[1])
    where = "shapes" if beside is None else str(beside[0])
    fields = trunk_fields({_dust3r_name(name): shape for name, shape in shapes.items()}, stated, where)
    if fields.pop("head") != "dpt":
        raise CheckpointError("heads of a Fast3R network", got="no tensors downstream_head.dpt.*", expected="DPT heads")
    has_local = any(name.startswith("downstream_head_local.") for name in shapes)
    if fields.setdefault("local_head", has_local) != has_local:
        raise CheckpointError(f"{where} says local head: {fields['local_head']}, the tensors say {has_local}")
    return Fast3rArchitecture(**fields), where


def _dust3r_name(name: str) -> str:
    """The name that a tensor of the same use has in DUSt3R."""
    name = name.removeprefix("encoder.").removeprefix("decoder.")
    return name.replace("downstream_head.dpt.", "downstream_head1.dpt.")


def stated_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``Fast3rArchitecture`` that the published description states: arguments of encoder, decoder and heads.

    Raises:
        CheckpointError: a value of the wrong type, or one that means a network which does not exist here.
    """
    fields: dict[str, Any] = {}
    for part, only in _ONLY.items():
        arguments = config.get(part, {})
        if not isinstance(arguments, Mapping):
            raise CheckpointError(f"'{part}' of the network's description", got=repr(arguments), expected="an object")
        for key, value in only.items():
            if arguments.get(key, value) != value:
                raise CheckpointError(f"'{key}' of the network's description", got=arguments[key], expected=repr(value))
    encoder, fusion, heads = (config.get(part, {}) for part in _ONLY)
    try:
        fields |= {field: encoder[key] for key, field in _ENCODER.items() if key in encoder}
        fields |= {field: fusion[key] for key, field in _FUSION.items() if key in fusion}
        if "pos_embed" in encoder:
            fields["rope_base"] = float(str(encoder["pos_embed"]).removeprefix("RoPE"))
        if "with_local_head" in heads:
            fields["local_head"] = bool(heads["with_local_head"])
        fields |= activation_fields(heads)
    except (TypeError, ValueError) as error:
        raise CheckpointError("value in the network's description", got=error) from error
    return fields


def activation_fields(heads: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that ``depth_mode`` and ``conf_mode`` state; CheckpointError for bounds that do not exist here."""
    fields: dict[str, Any] = {}
    if "depth_mode" in heads:
        mode, low, high = heads["depth_mode"]
        if (float(low), float(high)) != (-math.inf, math.inf):
            raise CheckpointError("keyword 'depth_mode'", got=repr((mode, low, high)), expected="bounds -inf and inf")
        fields["depth_mode"] = str(mode)
    if "conf_mode" in heads:
        mode, low, high = heads["conf_mode"]
        fields |= {"confidence_mode": str(mode), "confidence_range": (float(low), float(high))}
    return fields


def architecture_from_config(config: Mapping[str, Any]) -> Fast3rArchitecture:
    """The network that the configuration of recorded test vectors describes in its ``model``."""
    sizes = config["model"]
    fields = {
        **activation_fields(sizes),
        **{f"encoder_{ours}": int(sizes[f"enc_{theirs}"]) for ours, theirs in _SIZES},
        **{f"decoder_{ours}": int(sizes[f"dec_{theirs}"]) for ours, theirs in _SIZES},
        "patch_size": int(sizes["patch_size"]),
        "mlp_ratio": float(sizes["mlp_ratio"]),
        "rope_base": float(sizes["rope_base"]),
        "dpt_width": int(sizes["dpt_feature_dim"]),
        "dpt_last_width": int(sizes["dpt_last_dim"]),
        "dpt_layer_widths": tuple(int(width) for width in sizes["dpt_layer_dims"]),
        "local_head": bool(sizes["with_local_head"]),
    }
    return Fast3rArchitecture(**fields)


_SIZES = (("width", "embed_dim"), ("depth", "depth"), ("heads", "num_heads"))
