"""What MASt3R's publications say about a network beyond DUSt3R's language of keywords."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.dust3r.keywords import fields_from_keywords, keywords_of_constructor
from spann3r_ros.models.mast3r.architecture import Mast3rArchitecture

CONSTRUCTOR = "AsymmetricMASt3R"

_HEADS = {"catmlp+dpt": "dpt"}
# Keywords that only recordings state, and what they must be for a network that exists here.
_FIXED = {"desc_mode": ("norm", ("norm", "-inf", "inf")), "layer_norm_eps": (1e-6,)}


def mast3r_fields(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``Mast3rArchitecture`` stated by keywords; what is not stated is absent.

    Without ``desc_conf_mode`` the descriptors' confidence is activated as the points' (``conf_mode``).

    Raises:
        CheckpointError: an unknown keyword, or a value that means a network which does not exist here.
    """
    trunk, fields = dict(keywords), dict[str, Any]()
    if "head_type" in trunk:
        head = trunk.pop("head_type")
        if head not in _HEADS:
            raise CheckpointError("keyword 'head_type'", got=repr(head), expected=" or ".join(map(repr, _HEADS)))
        fields["head"] = _HEADS[head]
    if "output_mode" in trunk:
        fields["descriptor_width"] = _descriptor_width(trunk.pop("output_mode"))
    for key, allowed in _FIXED.items():
        value = trunk.pop(key, allowed[0])
        if (tuple(value) if isinstance(value, list) else value) not in allowed:
            raise CheckpointError(f"keyword {key!r}", got=repr(value), expected=repr(allowed[0]))
    try:
        if "desc_dim" in trunk:
            fields["descriptor_width"] = int(trunk.pop("desc_dim"))
        if "head_mlp_ratio" in trunk:
            fields["descriptor_mlp_ratio"] = float(trunk.pop("head_mlp_ratio"))
        if "two_confs" in trunk:
            fields["descriptor_confidence"] = bool(trunk.pop("two_confs"))
        mode = trunk.pop("desc_conf_mode", trunk.get("conf_mode"))
        if mode is not None:
            fields["descriptor_confidence_mode"] = str(mode[0])
            fields["descriptor_confidence_range"] = (float(mode[1]), float(mode[2]))
    except (TypeError, ValueError, IndexError) as error:
        raise CheckpointError("description of MASt3R's descriptors", got=error) from error
    hooks = trunk.pop("dpt_hooks", None)
    fields = {**fields_from_keywords(trunk), **fields}
    if hooks is not None and tuple(hooks) != (expected := _hooks(fields)):
        raise CheckpointError("keyword 'dpt_hooks'", got=repr(hooks), expected=repr(expected))
    return fields


def fields_from_mast3r_constructor(text: str) -> dict[str, Any]:
    """Fields of ``Mast3rArchitecture`` in a call ``AsymmetricMASt3R(enc_depth=24, ...)``, which is never evaluated."""
    return mast3r_fields(keywords_of_constructor(text, CONSTRUCTOR))


def mast3r_from_config(config: Mapping[str, Any]) -> Mast3rArchitecture:
    """The network of a configuration of recorded vectors, whose keywords are under ``model``."""
    model = config.get("model")
    if not isinstance(model, Mapping):
        raise CheckpointError("configuration of a MASt3R network", got="no 'model'", expected="its keywords")
    return Mast3rArchitecture(**mast3r_fields(model))


def _descriptor_width(output: Any) -> int:
    match = re.fullmatch(r"pts3d\+desc(\d+)", str(output))
    if match is None:
        raise CheckpointError("keyword 'output_mode'", got=repr(output), expected="'pts3d+desc24' (any width)")
    return int(match.group(1))


def _hooks(fields: Mapping[str, Any]) -> tuple[int, ...]:
    return Mast3rArchitecture(**fields).hooks
