"""Architectures as JSON, in the metadata of our own files: the family and every field of its dataclass."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, get_type_hints

from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.models.family import Architecture
from spann3r_ros.models.registry import all_families, family_of


def architecture_to_json(architecture: Architecture) -> str:
    """JSON of the family and every field; read back by ``architecture_from_json``."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, float) and math.isinf(value) else value

    return json.dumps({"family": family_of(architecture).name, **plain(architecture)})


def architecture_from_json(text: str) -> Architecture:
    """The architecture written by ``architecture_to_json``; raises CheckpointError for anything else."""
    try:
        values = json.loads(text)
        name = values.pop("family")
        if name in all_families():
            found: Architecture = _restored(type(all_families()[name].architecture), values)
            return found
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, ConfigError) as error:
        got = repr(text if len(text) <= 120 else text[:117] + "...")
        raise CheckpointError("architecture in the metadata", got=f"{got} ({error})") from error
    raise CheckpointError("family in the metadata", got=repr(name), expected=" or ".join(all_families()))


def _restored(kind: Any, values: Any) -> Any:
    """A dataclass, a tuple or a number of the type that a field has."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        make: Any = kind
        return make(**{name: _restored(hints[name], value) for name, value in values.items()})
    arguments: tuple[Any, ...] = getattr(kind, "__args__", ())
    if getattr(kind, "__origin__", None) is tuple and arguments[1:] == (Ellipsis,):
        return tuple(_restored(arguments[0], value) for value in values)
    if getattr(kind, "__origin__", None) is tuple:
        return tuple(_restored(item, value) for item, value in zip(arguments, values, strict=True))
    if kind in (int, float):
        return kind(value) if not isinstance(value := values, bool) else _refuse(value)
    return values


def _refuse(value: object) -> None:
    raise TypeError(f"{value!r} is no number")
