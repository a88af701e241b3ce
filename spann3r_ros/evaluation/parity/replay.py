"""Which module replays a recorded set."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet

Replay = Callable[[RecordedSet], dict[str, ParityReport]]

REPLAYED = (
    "spann3r",
    "dust3r",
    "dust3r_alignment",
    "mast3r",
    "mast3r_ga",
    "cut3r",
    "fast3r",
    "vggt",
    "vggt_long",
    "streamvggt",
    "pi3",
    "pi3x",
    "posenet",
)
"""What a configuration may state as its ``family``: a module of this folder each, with a function ``replay``."""


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay a set; a report each by what was replayed (a head, a case, a sequence).

    Raises:
        DataError: a set of an unknown family, or one that cannot be read.
        CheckpointError: weights that do not fit the sizes.
    """
    module = importlib.import_module(f"spann3r_ros.evaluation.parity.{_family(recorded)}")
    replay_of_family: Replay = module.replay
    return replay_of_family(recorded)


def _family(recorded: RecordedSet) -> str:
    """The family of a set; the oldest recordings do not state theirs."""
    config = recorded.config
    stated = config.get("family")
    if stated is None:
        stated = "spann3r" if "mem" in config else "dust3r" if "cases" in config else None
    if stated not in REPLAYED:
        raise DataError(
            f"recording {recorded.title} of an unknown network", got=repr(stated), expected=" | ".join(REPLAYED)
        )
    return str(stated)
