"""What is known about how submaps lie, as a graph: who measured what between which of them, and how sure that is.

``graph_solver`` finds the places that agree best with it. Whoever measures puts edges and anchors here; whoever moves
submaps reads what came of it. Joints, loops, odometry and absolute places all speak through this.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.sim3_algebra import adjoint
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]

JOINT, LOOP, ODOMETRY, ANCHOR = "joint", "loop", "odometry", "anchor"
KINDS = (JOINT, LOOP, ODOMETRY, ANCHOR)
"""Who measured: frames that two submaps share, a place seen again, the robot's odometry, an absolute place."""


@dataclass(frozen=True, eq=False)
class EdgeNoise:
    """How wrong a measurement may be: standard deviations, independent of each other, at one place of a submap.

    Attributes:
        rotation: about each axis, in radians.
        translation: along each axis, in the unit of the measured submap.
        scale: of the logarithm of the scale.
        submap_from_place: where in the submap the measurement was made, such as the camera of the matched frames: a
            turn about that place is a shift of the submap's far end.
    """

    rotation: float
    translation: float
    scale: float
    submap_from_place: Sim3 = field(default_factory=Sim3)

    def __post_init__(self) -> None:
        deviations = (self.rotation, self.translation, self.scale)
        if not all(np.isfinite(value) and value > 0 for value in deviations):
            raise GeometryError("standard deviations of an edge", got=deviations, expected="finite numbers > 0")

    def covariance(self) -> Array:
        """(7, 7) of the error's logarithm (translation, rotation vector, log of the scale) in the submap's frame."""
        spread = adjoint(self.submap_from_place) * ([self.translation] * 3 + [self.rotation] * 3 + [self.scale])
        return np.asarray(spread @ spread.T)

    def looser(self, factor: float) -> EdgeNoise:
        """The same, that many times as unsure."""
        return EdgeNoise(self.rotation * factor, self.translation * factor, self.scale * factor, self.submap_from_place)


@dataclass(frozen=True, eq=False)
class SubmapEdge:
    """How two submaps lie to each other.

    Attributes:
        first, second: their ids.
        first_from_second: as it was measured.
        noise: of that, in the second one's frame.
        kind: ``joint``, ``loop`` or ``odometry``.
    """

    first: int
    second: int
    first_from_second: Sim3
    noise: EdgeNoise
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS[:3] or self.first == self.second:
            raise GeometryError(
                "edge of a pose graph",
                got=(self.kind, self.first, self.second),
                expected=f"{' | '.join(KINDS[:3])}, and two submaps",
            )

    @property
    def key(self) -> EdgeKey:
        """What there is one of."""
        return EdgeKey(self.kind, self.first, self.second)


@dataclass(frozen=True, eq=False)
class SubmapAnchor:
    """Where a submap lies in the world, from whoever knows absolutely, such as a map that was loaded.

    Attributes:
        submap: its id.
        world_from_submap: as it was measured, in the world as it lies now.
        noise: of that, in the submap's frame.
    """

    submap: int
    world_from_submap: Sim3
    noise: EdgeNoise

    @property
    def key(self) -> EdgeKey:
        """What there is one of."""
        return EdgeKey(ANCHOR, self.submap, self.submap)


class EdgeKey(NamedTuple):
    """Names a measurement: a later one of the same name replaces it."""

    kind: str
    first: int
    second: int


Measurement: TypeAlias = "SubmapEdge | SubmapAnchor"


class PoseGraph:
    """The measurements so far. Thread-safe: each call is whole.

    Attributes:
        revision: grows with every change, so that whoever solved it sees whether it has to be solved again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[EdgeKey, Measurement] = {}
        self.revision = 0

    def __len__(self) -> int:
        return len(self._known)

    def put(self, measurement: Measurement) -> None:
        """Add a measurement, or replace the one of the same kind about the same submaps."""
        with self._lock:
            self._known[measurement.key] = measurement
            self.revision += 1

    def drop(self, key: EdgeKey) -> None:
        """Forget a measurement; nothing happens when there is none."""
        with self._lock:
            self.revision += self._known.pop(key, None) is not None

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._known.clear()
            self.revision += 1

    def measurements(self) -> list[Measurement]:
        """All, in the order in which they first came."""
        with self._lock:
            return list(self._known.values())

    def edges(self, kind: str = "") -> list[SubmapEdge]:
        """Those between submaps, of one kind or of all."""
        found = [each for each in self.measurements() if isinstance(each, SubmapEdge)]
        return [edge for edge in found if kind in ("", edge.kind)]

    def is_joined(self, first: int, second: int) -> bool:
        """Whether two submaps share frames that tell how they lie."""
        return EdgeKey(JOINT, first, second) in self._known or EdgeKey(JOINT, second, first) in self._known

    def has_more_than_joints(self) -> bool:
        """Whether there is anything to solve: joints alone say where submaps lie without it."""
        with self._lock:
            return any(key.kind != JOINT for key in self._known)

    def is_leaf(self, submap: int) -> bool:
        """Whether at most one measurement speaks of a submap, so that following that one contradicts no other."""
        with self._lock:
            return sum(submap in (key.first, key.second) for key in self._known) <= 1

    def saved(self) -> dict[str, NDArray[Any]]:
        """All measurements as arrays; ``restore`` takes them."""
        return arrays_from(self.measurements())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replace all by what ``saved`` gave; raises ValueError or KeyError for other arrays, and nothing changes."""
        known = {each.key: each for each in measurements_from(state)}
        with self._lock:
            self._known = known
            self.revision += 1


def arrays_from(measurements: list[Measurement]) -> dict[str, NDArray[Any]]:
    """Measurements as arrays by name; none at all without any."""
    if not measurements:
        return {}
    sims = [each.first_from_second if isinstance(each, SubmapEdge) else each.world_from_submap for each in measurements]
    noises = [each.noise for each in measurements]
    return {
        "kinds": np.array([KINDS.index(each.key.kind) for each in measurements], np.int64),
        "submaps": np.array([each.key[1:] for each in measurements], np.int64),
        "measured": np.stack([sim.matrix() for sim in sims]),
        "deviations": np.array([(noise.rotation, noise.translation, noise.scale) for noise in noises]),
        "places": np.stack([noise.submap_from_place.matrix() for noise in noises]),
    }


def measurements_from(state: Mapping[str, NDArray[Any]]) -> list[Measurement]:
    """What ``arrays_from`` stored; raises ValueError (GeometryError is one) or KeyError for other arrays."""
    if not state:
        return []
    kinds, submaps = state["kinds"], state["submaps"]
    count = len(kinds)
    shapes = {"submaps": (count, 2), "measured": (count, 4, 4), "deviations": (count, 3), "places": (count, 4, 4)}
    for name, shape in shapes.items():
        if state[name].shape != shape or state[name].dtype.kind not in "if":
            raise ValueError(f"{name} of {count} measurements is {state[name].dtype} {state[name].shape}")
    if kinds.dtype.kind != "i" or submaps.dtype.kind != "i" or not all(0 <= kind < len(KINDS) for kind in kinds):
        raise ValueError(f"kinds of measurements are {kinds.dtype}: {np.unique(kinds)[:8]}")
    found: list[Measurement] = []
    for kind, (first, second), measured, deviations, place in zip(
        kinds.tolist(), submaps.tolist(), state["measured"], state["deviations"].tolist(), state["places"], strict=True
    ):
        rotation, translation, scale = deviations
        noise = EdgeNoise(rotation, translation, scale, Sim3.from_matrix(place))
        if KINDS[kind] == ANCHOR:
            found.append(SubmapAnchor(first, Sim3.from_matrix(measured), noise))
        else:
            found.append(SubmapEdge(first, second, Sim3.from_matrix(measured), noise, KINDS[kind]))
    return found
