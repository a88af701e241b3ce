"""Which module replays a recorded set."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from spann3r_ros.errors import DataError, Spann3rError
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
        DataError: a set of an unknown family, or one that cannot be read or lacks something.
        CheckpointError: weights that do not fit the sizes.
    """
    module = importlib.import_module(f"spann3r_ros.evaluation.parity.{_family(recorded)}")
    replay_of_family: Replay = module.replay
    _require_stated(recorded)
    try:
        return replay_of_family(recorded)
    except Spann3rError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        # What a replay reads is spread over its module; wherever the set is not as it must be, it ends here.
        lacks = f"nothing called {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise DataError(
            f"recording {recorded.title} lacks something, or has it in another form",
            got=lacks[:300],
            expected=f"what a recording of its family ({_family(recorded)}) holds, in *_config.json and *.safetensors",
        ) from error


def _require_stated(recorded: RecordedSet) -> None:
    """Raise DataError when tensors are not there that the configuration says were recorded."""
    stated = _stated(recorded.config)
    missing = [name for name in stated if name not in recorded.recording]
    if missing:
        raise DataError(
            f"recording {recorded.title} lacks tensors that its configuration states",
            got=", ".join(missing[:5]) + (f" and {len(missing) - 5} more missing" if len(missing) > 5 else ""),
            expected=f"all {len(stated)} of them",
            next_step="Record it again, or take them out of the configuration, too",
        )


def _stated(config: Mapping[str, Any]) -> list[str]:
    """Names of the tensors that a configuration lists, by case or all together; not every one does."""
    names = []
    for table in (config.get("tensors"), config.get("case_tensors")):
        names += [name for name in table if "/" in name] if isinstance(table, dict) else []
    cases = config.get("cases")
    for case in cases if isinstance(cases, list) else []:
        of_case = case.get("tensors") if isinstance(case, dict) else None
        names += [f"{case.get('name')}/{name}" for name in of_case] if isinstance(of_case, dict) else []
    return list(dict.fromkeys(names))


def _family(recorded: RecordedSet) -> str:
    """The family of a set; the oldest recordings do not state theirs."""
    config = recorded.config
    stated = config.get("family")
    if stated is None:
        stated = "spann3r" if "mem" in config else "dust3r" if "cases" in config and "heads" in config else None
    if stated not in REPLAYED:
        raise DataError(
            f"recording {recorded.title} of an unknown network", got=repr(stated), expected=" | ".join(REPLAYED)
        )
    return str(stated)
