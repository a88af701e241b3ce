"""The language in which DUSt3R's publications describe a network: keywords, and constructor strings of them.

The keyword names are those that DUSt3R's published training commands use (``enc_embed_dim`` and so on); a checkpoint,
the ``config.json`` beside an exported one, and recorded test vectors all speak it.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture

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


def trunk_from_config(config: Mapping[str, Any]) -> Dust3rArchitecture:
    """The DUSt3R network that a JSON configuration describes.

    Args:
        config: either flat DUSt3R keywords (a ``config.json`` beside an exported checkpoint), or the nested form of
            the recorded test vectors: ``model`` with those keywords, beside it ``patch_size``, ``pos_embed``,
            ``depth_mode``, ``conf_mode`` and ``image`` (``height``, ``width``). Other entries of the nested form are
            ignored.

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
        fields["image_size"] = (224, 224)  # Spann3R's
    return Dust3rArchitecture(**fields)


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

    Raises:
        CheckpointError: as ``keywords_of_constructor`` and ``fields_from_keywords``.
    """
    return fields_from_keywords(keywords_of_constructor(text, "AsymmetricCroCo3DStereo"))


def keywords_of_constructor(text: str, name: str) -> dict[str, Any]:
    """The keywords of a constructor call ``name(keyword=literal, ...)``.

    The text is parsed as an expression and matched against a whitelist (that name; keywords with literals, tuples,
    ``inf`` and ``-inf``). Nothing of it is ever evaluated.

    Raises:
        CheckpointError: anything else in the text.
    """
    problem = "description of the network in the checkpoint's 'args'"
    expected = f"{name}(keyword=literal, ...)"
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(problem, got=shortened(text), expected=expected) from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise CheckpointError(problem, got=shortened(text), expected=expected)
    if call.func.id != name:
        raise CheckpointError(problem, got=f"a network of class {call.func.id}", expected=expected)
    keywords: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise CheckpointError(problem, got=shortened(ast.unparse(keyword.value)), expected="no ** arguments")
        keywords[keyword.arg] = literal(keyword.value)
    return keywords


def literal(node: ast.expr) -> Any:
    """The value of a literal, of a tuple or list of literals, of ``inf`` or ``-inf``; CheckpointError for others."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | None):
        return node.value
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(literal(item) for item in node.elts)
    if isinstance(node, ast.Name) and node.id == "inf":
        return math.inf
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = literal(node.operand)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    raise CheckpointError(
        "value in the description of the network in the checkpoint's 'args'",
        got=shortened(ast.unparse(node)),
        expected="a number, a string, inf, -inf, or a tuple of them",
        next_step="It was not evaluated; do not trust this file",
    )


def shortened(text: str) -> str:
    """A text for an error, in quotes."""
    return repr(text if len(text) <= 120 else text[:117] + "...")
