"""Spann3R's own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spann3r_ros.parameter import parameter


@dataclass
class Spann3rParameters:
    """Size and thresholds of the spatial memory (section 6 of the Spann3R specification; the paper's values)."""

    GROUP: ClassVar[str] = "memory"

    working_frames: int = parameter(5, "Frames of the working memory.", unit="frames", low=1, high=64)
    long_term_tokens: int = parameter(
        4000,
        "Tokens kept when the long-term memory is pruned; 0 forgets all but the working memory.",
        unit="tokens",
        low=0,
        high=200000,
    )
    attention_threshold: float = parameter(
        5e-4, "Attention weights below this are set to zero.", low=0.0, high=1.0, live=True
    )
    similarity_threshold: float = parameter(
        0.95,
        "A frame more similar than this to one in working memory is not stored; 1 stores all.",
        low=-1.0,
        high=1.0,
        live=True,
    )
    protected_frames: int = parameter(
        5,
        "Frames beyond the working memory that a prune spares (the paper's code: 5; smaller suits small memories).",
        unit="frames",
        low=0,
        high=64,
    )
