"""What moves submaps: anything that learns, from a prediction and the map, where a part of the world really lies.

Scale from odometry or depth, joints between submaps and closed loops are all correctors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from spann3r_ros.mapping.map import Map
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3


@dataclass(frozen=True, eq=False)
class Correction:
    """A submap's better place.

    Attributes:
        submap: its id.
        world_from_submap: axes, unit and correction in one similarity.
        reason: what was found, for people.
    """

    submap: int
    world_from_submap: Sim3
    reason: str


class Corrector(Protocol):
    """Watches predictions as they enter the map."""

    def observe(self, prediction: Prediction, world: Map) -> Sequence[Correction]:
        """What the prediction, which is in the map already, tells about where submaps lie; mostly nothing."""
        ...

    def clear(self) -> None:
        """Forget everything, because a new world begins."""
        ...
