"""Tolerances that a configuration states in words: "2e-4 of the tensor maximum (known_poses4: 1e-3)"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NUMBER = r"(\d+(?:\.\d+)?(?:e-?\d+)?)"


def stated_tolerance(config: Mapping[str, Any], place: str, default: float, case: str = "") -> float:
    """The tolerance under the entry of ``tolerance`` that begins with ``place``, its own one for a case if it has one.

    Percentages are shares. ``default`` holds where nothing is stated.
    """
    texts = [str(text) for name, text in config.get("tolerance", {}).items() if place in name]
    if not texts:
        return default
    own = re.search(rf"{re.escape(case)}: *{_NUMBER}", texts[0]) if case else None
    found = own or re.search(rf"(?<![\w.]){_NUMBER}( *%)?", texts[0])
    if found is None:
        return default
    return float(found[1]) * (0.01 if own is None and found[2] else 1.0)
