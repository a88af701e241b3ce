"""The toy's own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spann3r_ros.parameter import parameter


@dataclass
class ToyParameters:
    """What only the toy has."""

    GROUP: ClassVar[str] = "toy"

    gain: float = parameter(1.0, "What its plane's distance is multiplied by.", low=0.1, high=10.0, live=True)
