"""The written forms of an architecture: configuration files, constructor strings, JSON, and the shapes of tensors.

The keyword names are those that DUSt3R's published training commands use (``enc_embed_dim`` and so on); a checkpoint,
the ``config.json`` beside an exported one, and recorded test vectors all speak this language.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture

Architecture: TypeAlias = Dust3rArchitecture | Spann3rArchitecture
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

HEAD_DIM = 64
"""Channels of one attention head in every official network; shapes of tensors do not tell it."""

_SIZES = {
    "patch_size": "patch_size",
    "enc_embed_dim": "encoder_width",
    "enc_depth": "encoder_depth",
    "enc_num_heads": "encoder_heads",
    "dec_embed_dim": "decoder_width",
    "dec_depth": "decoder_depth",
    "dec_num_heads": "decoder_heads",
    "dpt_feature_dim": "dpt_width",
    "dpt_last_dim": "dpt_last_width",
}
# Keywords that change training, or nothing at all here, and the values under which that holds (None: any value).
_WITHOUT_EFFECT: dict[str, tuple[Any, ...] | None] = {
    "output_mode": ("pts3d",),
    "norm_im2_in_dec": (True,),
    "patch_embed_cls": ("PatchEmbedDust3R", "ManyAR_PatchEmbed"),
    "landscape_only": None,
    "freeze": None,
    "mask_ratio": None,
}


def architecture_from_config(config: Mapping[str, Any]) -> Architecture:
    """The architecture that a JSON configuration describes.

    Args:
        config: either flat DUSt3R keywords (a ``config.json`` beside an exported checkpoint), or the nested form of
            the recorded test vectors: ``model`` with those keywords, beside it ``patch_size``, ``pos_embed``,
            ``depth_mode``, ``conf_mode``, ``image`` (``height``, ``width``), and for Spann3R ``mem`` (the value
            encoder). Other entries of the nested form are ignored.

    Raises:
        CheckpointError: an unknown keyword, or a variation of the network that does not exist here.
    """
    if not isinstance(config.get("model"), Mapping):
        return Dust3rArchitecture(**fields_from_keywords(config))
    outer = {key: config[key] for key in ("patch_size", "pos_embed", "depth_mode", "conf_mode") if key in config}
    fields = fields_from_keywords({**outer, **config["model"]})
    if "image" in config:
        fields["image_size"] = (int(config["image"]["height"]), int(config["image"]["width"]))
    elif "mem" in config:
        fields["image_size"] = (224, 224)
    trunk = Dust3rArchitecture(**fields)
    return _with_value_encoder(trunk, config["mem"]) if "mem" in config else trunk


def _with_value_encoder(trunk: Dust3rArchitecture, mem: Mapping[str, Any]) -> Spann3rArchitecture:
    widths = {
        "value_dim": trunk.encoder_width,
        "attn_head_in": trunk.encoder_width + trunk.decoder_width,
        "attn_head_out": trunk.encoder_width,
    }
    for key, width in widths.items():
        if mem.get(key, width) != width:
            raise CheckpointError(f"'{key}' of the value encoder", got=mem[key], expected=f"{width}, set by the trunk")
    return Spann3rArchitecture(
        trunk=trunk,
        value_depth=int(mem.get("value_depth", 6)),
        value_heads=int(mem.get("value_heads", max(1, trunk.encoder_width // HEAD_DIM))),
        value_mlp_ratio=float(mem.get("mlp_ratio", 4.0)),
        value_rope=bool(mem.get("rope_in_value_encoder", False)),
    )


def fields_from_keywords(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``Dust3rArchitecture`` stated by DUSt3R keywords; what is not stated is absent.

    Raises:
        CheckpointError: an unknown keyword, or a value that means a network which does not exist here.
    """
    fields: dict[str, Any] = {}
    for key, value in keywords.items():
        if key in _READERS:
            try:
                fields.update(_READERS[key](value))
            except CheckpointError:
                raise
            except (TypeError, ValueError, IndexError) as error:
                raise CheckpointError(f"keyword '{key}' of the network's description", got=repr(value)) from error
        elif key not in _WITHOUT_EFFECT:
            raise CheckpointError(
                "unknown keyword in the description of the network",
                got=f"{key}={value!r}",
                expected=", ".join([*_READERS, *_WITHOUT_EFFECT]),
                next_step="The file belongs to a variation of DUSt3R that this package does not have",
            )
        elif (allowed := _WITHOUT_EFFECT[key]) is not None and value not in allowed:
            raise CheckpointError(f"keyword '{key}'", got=repr(value), expected=" or ".join(map(repr, allowed)))
    return fields


def _positions(value: Any) -> dict[str, Any]:
    match = re.fullmatch(r"RoPE(\d+(?:\.\d+)?)", str(value))
    if match is None:
        raise CheckpointError("keyword 'pos_embed'", got=repr(value), expected="'RoPE100' (rotary, with any base)")
    return {"rope_base": float(match.group(1))}


def _image_size(value: Any) -> dict[str, Any]:
    height, width = (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
    # A 512 network was trained on 512 x 384 and flatter, never on a 512 square; a 224 one on squares.
    if height == width and width > 224:
        height = width * 3 // 4
    return {"image_size": (height, width)}


def _depth_mode(value: Any) -> dict[str, Any]:
    mode, low, high = value
    if (float(low), float(high)) != (-math.inf, math.inf):
        raise CheckpointError("keyword 'depth_mode'", got=repr(value), expected="bounds -inf and inf")
    return {"depth_mode": str(mode)}


def _confidence_mode(value: Any) -> dict[str, Any]:
    mode, low, high = value
    return {"confidence_mode": str(mode), "confidence_range": (float(low), float(high))}


def _size(field: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {field: int(value)}


_READERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    **{keyword: _size(field) for keyword, field in _SIZES.items()},
    "pos_embed": _positions,
    "img_size": _image_size,
    "head_type": lambda value: {"head": str(value)},
    "mlp_ratio": lambda value: {"mlp_ratio": float(value)},
    "dpt_layer_dims": lambda value: {"dpt_layer_widths": tuple(int(width) for width in value)},
    "depth_mode": _depth_mode,
    "conf_mode": _confidence_mode,
}


def fields_from_constructor(text: str) -> dict[str, Any]:
    """Fields of ``Dust3rArchitecture`` in a constructor call ``AsymmetricCroCo3DStereo(enc_depth=24, ...)``.

    The text is parsed as an expression and matched against a whitelist (that name; keywords with literals, tuples,
    ``inf`` and ``-inf``). Nothing of it is ever evaluated.

    Raises:
        CheckpointError: anything else in the text.
    """
    problem = "description of the network in the checkpoint's 'args'"
    expected = "AsymmetricCroCo3DStereo(keyword=literal, ...)"
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(problem, got=_shortened(text), expected=expected) from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise CheckpointError(problem, got=_shortened(text), expected=expected)
    if call.func.id != "AsymmetricCroCo3DStereo":
        raise CheckpointError(problem, got=f"a network of class {call.func.id}", expected=expected)
    keywords: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise CheckpointError(problem, got=_shortened(ast.unparse(keyword.value)), expected="no ** arguments")
        keywords[keyword.arg] = _literal(keyword.value)
    return fields_from_keywords(keywords)


def _literal(node: ast.expr) -> Any:
    """The value of a literal, of a tuple or list of literals, of ``inf`` or ``-inf``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | None):
        return node.value
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_literal(item) for item in node.elts)
    if isinstance(node, ast.Name) and node.id == "inf":
        return math.inf
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    raise CheckpointError(
        "value in the description of the network in the checkpoint's 'args'",
        got=_shortened(ast.unparse(node)),
        expected="a number, a string, inf, -inf, or a tuple of them",
        next_step="It was not evaluated; do not trust this file",
    )


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")


def architecture_to_json(architecture: Architecture) -> str:
    """JSON of the family and every field; read back by ``architecture_from_json``."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, float) and math.isinf(value) else value

    family = "spann3r" if isinstance(architecture, Spann3rArchitecture) else "dust3r"
    return json.dumps({"family": family, **plain(dataclasses.asdict(architecture))})


def architecture_from_json(text: str) -> Architecture:
    """The architecture written by ``architecture_to_json``; raises CheckpointError for anything else."""
    try:
        values = json.loads(text)
        family = values.pop("family")
        trunk = values["trunk"] if family == "spann3r" else values
        for key in ("dpt_layer_widths", "image_size"):
            trunk[key] = tuple(int(number) for number in trunk[key])
        trunk["confidence_range"] = tuple(float(number) for number in trunk["confidence_range"])
        if family == "spann3r":
            return Spann3rArchitecture(**{**values, "trunk": Dust3rArchitecture(**trunk)})
        if family == "dust3r":
            return Dust3rArchitecture(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError("architecture in the metadata", got=f"{_shortened(text)} ({error})") from error
    raise CheckpointError("family in the metadata", got=repr(family), expected="spann3r or dust3r")


def fields_from_shapes(shapes: Shapes) -> dict[str, Any]:
    """Fields of ``Dust3rArchitecture`` that the shapes of a trunk's tensors tell: all sizes but the numbers of heads.

    Args:
        shapes: by the published names without the prefix ``dust3r.``.

    Raises:
        CheckpointError: a tensor that tells a size is missing or has the wrong number of axes.
    """
    patch = _shape(shapes, "patch_embed.proj.weight", 4)
    fields: dict[str, Any] = {
        "patch_size": patch[2],
        "encoder_width": patch[0],
        "encoder_depth": _depth(shapes, "enc_blocks."),
        "decoder_width": _shape(shapes, "decoder_embed.weight", 2)[0],
        "decoder_depth": _depth(shapes, "dec_blocks."),
        "mlp_ratio": _mlp_ratio(shapes, "enc_blocks.0"),
        "head": "dpt" if any(name.startswith("downstream_head1.dpt.") for name in shapes) else "linear",
    }
    if fields["head"] == "dpt":
        dpt = "downstream_head1.dpt"
        levels = [_shape(shapes, f"{dpt}.scratch.layer_rn.{level}.weight", 4) for level in range(4)]
        fields["dpt_layer_widths"] = tuple(level[1] for level in levels)
        fields["dpt_width"] = levels[0][0]
        fields["dpt_last_width"] = _shape(shapes, f"{dpt}.head.4.weight", 4)[1]
    return fields


def architecture_from_shapes(shapes: Shapes, stated: Mapping[str, Any], where: str) -> Architecture:
    """The architecture that tensors have.

    Args:
        shapes: by published names; those of Spann3R begin with ``dust3r.`` where they belong to the trunk.
        stated: fields of ``Dust3rArchitecture`` known from elsewhere. What is known from nowhere is as in the official
            networks: heads of 64 channels, exponential activations, images of 224 x 224 (Spann3R) or 512 x 384.
        where: where ``stated`` stood, for the error.

    Raises:
        CheckpointError: tensors too few to tell, or ``stated`` contradicts them.
    """
    spann3r = any(name.startswith("dust3r.") for name in shapes)
    trunk_shapes = {name.removeprefix("dust3r."): shape for name, shape in shapes.items()} if spann3r else shapes
    fields = fields_from_shapes(trunk_shapes)
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
    if not spann3r:
        return Dust3rArchitecture(**fields)
    return Spann3rArchitecture(
        trunk=Dust3rArchitecture(**{"image_size": (224, 224), **fields}),
        value_depth=_depth(shapes, "value_encoder."),
        value_heads=max(1, fields["encoder_width"] // HEAD_DIM),
        value_mlp_ratio=_mlp_ratio(shapes, "value_encoder.0"),
    )


def _shape(shapes: Shapes, name: str, axes: int) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None or len(shape) != axes:
        raise CheckpointError(
            f"tensor {name}, which tells the size of the network,",
            got="nothing" if shape is None else f"shape {list(shape)}",
            expected=f"{axes} axes",
        )
    return shape


def _depth(shapes: Shapes, prefix: str) -> int:
    numbers = {int(name.split(".")[1]) for name in shapes if re.match(re.escape(prefix) + r"\d+\.", name)}
    return 1 + max(numbers, default=-1)


def _mlp_ratio(shapes: Shapes, block: str) -> float:
    hidden, width = _shape(shapes, f"{block}.mlp.fc1.weight", 2)
    ratio = hidden / width
    # Networks take int(width * ratio); the quotient must not fall short of the hidden width by rounding.
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)
