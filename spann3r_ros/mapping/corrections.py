"""What moves submaps: anything that learns, from a prediction and the map, where a part of the world really lies.

Scale from odometry or depth, joints between submaps and closed loops are all correctors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

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
        scale_source: what made the unit of the world the meter; empty when nothing does any more; None for a correction
            that says nothing about it.
    """

    submap: int
    world_from_submap: Sim3
    reason: str
    scale_source: str | None = None


def move_all(corrections: Sequence[Correction], world: Map) -> None:
    """Move submaps; raises GeometryError where one of them cannot be moved, and none has moved then."""
    for each in corrections:
        world.check_move(each.submap, each.world_from_submap)
    for each in corrections:
        world.move(each.submap, each.world_from_submap, each.reason, each.scale_source)


class Corrector(Protocol):
    """Watches predictions as they enter the map.

    Attributes:
        name: under which its state is saved; no two correctors of a reconstruction share one.
    """

    name: str

    def observe(self, prediction: Prediction, world: Map) -> Sequence[Correction]:
        """What the prediction, which is in the map already, tells about where submaps lie; mostly nothing."""
        ...

    def clear(self) -> None:
        """Forget everything, because a new world begins."""
        ...

    def saved(self) -> Mapping[str, NDArray[Any]]:
        """What it needs to go on where it is, as arrays by name that nobody changes any more; empty when nothing."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where ``saved`` was called, in the same world; from an empty state it begins anew.

        Raises:
            ValueError, KeyError: arrays that it did not write; nothing has changed then.
        """
        ...


@runtime_checkable
class PatientCorrector(Corrector, Protocol):
    """A corrector whose findings come later than what they are about, because it works beside the stream."""

    def finish(self, world: Map) -> Sequence[Correction]:
        """What is still owed when no further frame will come; waits for it."""
        ...

    def close(self) -> None:
        """End its work, whatever it was at; it is of no use afterwards."""
        ...
