"""Settings that were pickled beside weights as objects of a library, read as data without that library.

CUT3R's training saves its whole configuration as objects of OmegaConf. For each class that such a configuration names,
an empty one stands in, which keeps what the pickle says and can do nothing; the library is not imported, if it is there
at all.
"""

from __future__ import annotations

from typing import Any

_SETTINGS = ("omegaconf.", "typing.", "collections.defaultdict", "pathlib.")
"""Beginnings of full names: of OmegaConf's classes and what they name, and of paths, which training arguments hold."""

PLAIN_TYPES = tuple(f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "int", "list", "str", "tuple"))
"""Types that settings name as those of their values; where they do, a ``StandIn`` takes their place, too."""


class StandIn:
    """An object of a class that is not loaded; what it was made of is thrown away, its state are its attributes."""

    def __init__(self, *_arguments: object, **_keywords: object) -> None:
        pass


def is_setting(name: str) -> bool:
    """Whether a class of this full name belongs to settings, so that a ``StandIn`` may take its place."""
    return name.startswith(_SETTINGS)


def setting(settings: object, name: str) -> object:
    """A value of settings that were read: attributes of a Namespace, or entries of a stood-in OmegaConf dictionary."""
    if not isinstance(settings, StandIn):
        return getattr(settings, name, None)
    content: Any = vars(settings).get("_content")
    node = content.get(name) if isinstance(content, dict) else None
    return vars(node).get("_val") if isinstance(node, StandIn) else None
