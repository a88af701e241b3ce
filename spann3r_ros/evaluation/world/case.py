"""What every case of the table looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from spann3r_ros.config import Config
from spann3r_ros.errors import Spann3rError
from spann3r_ros.parameter import parameters
from spann3r_ros.runs.chosen_model import all_groups

AIM, MUST, MISSED, PRINTED = "aim", "must", "missed", "printed"
"""How a figure stands to what was asked for: the aim is reached, the least is, it is not, or nothing was asked for."""


class NotMeasuredError(Spann3rError):
    """A case that this version or this machine cannot measure; the message says what is missing."""


@dataclass(frozen=True)
class Finding:
    """What was measured in one case.

    Attributes:
        text: the figures, for people.
        grade: one of ``AIM``, ``MUST``, ``MISSED``, ``PRINTED``.
    """

    text: str
    grade: str = PRINTED


class Case(Protocol):
    """One row of the table.

    Attributes:
        NAME: in the suite file.
        MUST_TEXT, AIM_TEXT: what is asked for.
    """

    NAME: ClassVar[str]
    MUST_TEXT: ClassVar[str]
    AIM_TEXT: ClassVar[str]

    def title(self) -> str:
        """What is done, for people."""
        ...

    def measure(self) -> Finding:
        """Do it.

        Raises:
            NotMeasuredError: what it needs is not there.
        """
        ...


def graded(value: float, must: float, aim: float) -> str:
    """The grade of a figure that shall be small; NaN misses."""
    if value <= aim:
        return AIM
    return MUST if value <= must else MISSED


def require_parameters(*names: str) -> None:
    """Raise NotMeasuredError unless this version has the parameters."""
    known = {entry.name for entry in parameters(Config, all_groups())}
    missing = [name for name in names if name not in known]
    if missing:
        raise NotMeasuredError(f"this version has no parameter {' and no '.join(missing)}")


def spread_text(values: Sequence[float], unit: str = "", digits: int = 3) -> str:
    """Median and worst of several figures that shall be small; of one, itself."""
    known = [value for value in values if np.isfinite(value)]
    missing = f", {len(values) - len(known)} without a figure" if len(known) < len(values) else ""
    if not known:
        return f"no figure of {len(values)}"
    if len(known) == 1:
        return f"{known[0]:.{digits}g}{unit}{missing}"
    return f"{np.median(known):.{digits}g}{unit} (worst {max(known):.{digits}g}{unit}){missing}"
