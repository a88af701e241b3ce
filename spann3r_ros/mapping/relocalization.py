"""Where in a loaded world the camera is: new frames lie apart until keyframes of that world are seen again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.complaints import EVENT, Complaints, Severity, reason, through
from spann3r_ros.config import LoopsConfig
from spann3r_ros.errors import Spann3rError
from spann3r_ros.frame import Frame
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.keyframes import Keyframe, Keyframes
from spann3r_ros.mapping.loop_search import Describe, LoopCounts, LoopFinding, LoopSearch, Relate, Surroundings
from spann3r_ros.mapping.map import Map
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

logger = logging.getLogger(__name__)

MOST = 100
"""Keyframes of a submap."""

MATCHES = 2
"""Matches of different frames that must say the same: one alone may be another place that looks alike."""

SAME_TURN, SAME_PLACE, SAME_SCALE = float(np.radians(10.0)), 0.25, 0.2
"""How far two matches that say the same may differ: radians, a share of the scene's depth, of the scale."""

NEAREST = 4
"""Keyframes nearest to where a relocalizer says the camera is that are looked at."""

DEGREES_A_DEPTH = 60.0
"""A turn that counts as much as a step as long as the scene is deep."""

Locate = Callable[[Frame], Sim3]
"""Tells ``world_from_camera`` of an image, from a network that knows this one scene."""

SEARCH = "relocalization"


@dataclass(frozen=True, eq=False)
class _Match:
    """What one frame says.

    Attributes:
        order: of the frame.
        world_from_apart: how the submaps that lie apart have to move, all alike.
        world_from_camera: where the frame's camera is then.
        depth: of the scene in the world.
    """

    order: int
    world_from_apart: Sim3
    world_from_camera: Sim3
    depth: float

    def agrees(self, other: _Match) -> bool:
        step = self.world_from_apart.inverse() @ other.world_from_apart
        place = self.world_from_camera.translation
        shift = other.world_from_apart.apply(self.world_from_apart.inverse().apply(place)) - place
        return (
            step.rotation_angle() <= SAME_TURN
            and float(np.linalg.norm(shift)) <= SAME_PLACE * self.depth
            and abs(np.log(step.scale)) <= SAME_SCALE
        )


class Relocalization:
    """Keeps keyframes of the world, and finds the camera among them after a map was loaded; see ``Corrector``.

    Candidates are keyframes whose descriptors are alike (``retrieval``), or those nearest to where a network that knows
    the scene says the camera is (``posenet``). Either way the model relates the frames, and their surfaces must fit.
    When two frames say the same, everything that lies apart moves into the world.

    Args:
        config: thresholds of loops, which are those of matches.
        relate: how two submaps lie to each other, by the network.
        background: where that is found out.
        locate: gives the candidates instead of descriptors.
        describe: gives descriptors instead of the model's own.
        complaints: hears while the camera is looked for.

    Attributes:
        counts: what became of the candidates.
    """

    name = "places"

    def __init__(
        self,
        config: LoopsConfig,
        relate: Relate,
        background: Background,
        locate: Locate | None = None,
        describe: Describe | None = None,
        complaints: Complaints | None = None,
    ) -> None:
        self._config, self._relate, self._background, self._locate = config, relate, background, locate
        self._describe = _alike if locate is not None else describe
        self._complaints = complaints or Complaints(through(logger))
        self._keyframes = Keyframes(MOST, config.max_memory * 1_000_000)
        self._order = self._looked = 0
        self._waiting: Keyframe | None = None
        self._asked: Keyframe | None = None
        self._task: Future[LoopFinding] | None = None
        self._begin_search()

    def __len__(self) -> int:
        return len(self._keyframes)

    def observe(self, prediction: Prediction, world: Map) -> list[Correction]:  # noqa: D102
        if not prediction.final:
            return []
        self._order += 1
        kept = self._keyframes.add(prediction.submap, lambda: Keyframe.of(prediction, self._order))
        if world.apart is None or prediction.submap < world.apart:
            return []
        keyframe = kept or Keyframe.of(prediction, self._order)
        return self._go_on(world) if keyframe is None else self.look_for(keyframe, world)

    def look_for(self, keyframe: Keyframe, world: Map) -> list[Correction]:
        """Look for one frame of what lies apart, or for a newer one when others are being looked for."""
        self._looked += 1
        self._waiting = keyframe
        self._tell()
        return self._go_on(world)

    def adopt(self, keyframes: Sequence[Keyframe], first: int) -> list[Keyframe]:
        """Keep those of another world, too.

        Args:
            keyframes: its own.
            first: number that its submap 0 has here.

        Returns:
            The keyframes as they are kept, to be looked for.
        """
        later = self._order + self._config.min_gap + 1
        taken = [replace(each, order=each.order + later, submap=each.submap + first) for each in keyframes]
        self._order = max([self._order, *(each.order for each in taken)])
        self._keyframes.restore([*self._keyframes.all(), *taken])
        self._begin_search()
        return taken

    def finish(self, world: Map) -> list[Correction]:  # noqa: D102
        if self._task is not None:
            self._task.exception()  # waits
        return self._go_on(world) if world.apart is not None else []

    def close(self) -> None:  # noqa: D102
        self.clear()

    def clear(self) -> None:  # noqa: D102
        self._keyframes.clear()
        self._order = 0
        self._begin_search()

    def look_for_camera(self) -> None:
        """A map was loaded, and nobody knows where in it the next frames are."""
        self._order += self._config.min_gap + 1  # nothing that comes is a neighbor in time
        self._begin_search()

    def drop(self, first: int) -> None:
        """Forget keyframes of submaps from a number on, which begin anew."""
        self._keyframes.restore([each for each in self._keyframes.all() if each.submap < first])
        self._begin_search()

    def saved(self) -> dict[str, NDArray[Any]]:  # noqa: D102
        kept = self._keyframes.all()
        return {f"{number}.{name}": value for number, each in enumerate(kept) for name, value in each.saved().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: D102
        kept = keyframes_from(state)
        self.clear()
        self._keyframes.restore(kept)
        self._order = max((each.order for each in kept), default=0)

    def _begin_search(self) -> None:
        self._waiting = self._asked = self._task = None
        self._matches: list[_Match] = []
        self._looked = 0
        self.counts = LoopCounts()
        self._search = LoopSearch(self._config, self._relate, self._describe)
        self._complaints.settle(SEARCH)

    def _tell(self) -> None:
        counts = self.counts
        text = (
            f"the camera is looked for in the loaded map: {self._looked} images, {counts.candidates} candidates, "
            f"{counts.accepted} of them fit, {MATCHES} that agree are needed. Until then nothing is published; bring "
            "the camera to a place that the map knows, or call ~/reset for a new one"
        )
        self._complaints.report(SEARCH, text, Severity.WARNING)

    def _go_on(self, world: Map) -> list[Correction]:
        """Take up what was found, and look for the newest frame."""
        if self._task is not None and self._task.done():
            self._take_up(self._task, world)
        if self._task is None and self._waiting is not None and not self._agreed():
            self._begin(self._waiting, world)
            self._waiting = None
            if self._task is not None and self._task.done():  # it was done at once
                self._take_up(self._task, world)
        match = self._agreed()
        return [] if match is None else self._join(match, world)

    def _begin(self, keyframe: Keyframe, world: Map) -> None:
        search, locate, known = self._search, self._locate, self._keyframes.all()
        apart = world.apart
        assert apart is not None
        there = [each for each in known if each.submap < apart]
        here = {each.order: each for each in [*known, keyframe] if each.submap == keyframe.submap}
        places = {each.id: each.world_from_submap for each in world.submaps}

        def look() -> LoopFinding:
            some = there if locate is None else _nearest(locate(keyframe.prediction().frame), there, places)
            return search.look(keyframe, Surroundings([*some, *here.values()], places, (), {}))

        self._asked, self._task = keyframe, self._background.submit(look)

    def _take_up(self, task: Future[LoopFinding], world: Map) -> None:
        keyframe, self._task, self._asked = self._asked, None, None
        error = task.exception()
        if error is not None:
            self.counts.failed += 1
            text = f"an image could not be looked for in the loaded map: {reason(error)}"
            expected = None if isinstance(error, Spann3rError) else error
            self._complaints.report("relocalization failed", text, Severity.WARNING, expected, lasts=EVENT)
            return
        self.counts.add(task.result().counts)
        assert keyframe is not None
        here = world.submap(keyframe.submap).world_from_submap
        for edge in task.result().edges:
            placed = world.submap(edge.first).world_from_submap @ edge.first_from_second
            camera = placed.carry(keyframe.submap_from_camera)
            self._matches.append(_Match(keyframe.order, placed @ here.inverse(), camera, keyframe.depth * placed.scale))

    def _agreed(self) -> _Match | None:
        """The newest match with which enough others of other frames agree."""
        for match in reversed(self._matches):
            agreeing = {other.order for other in self._matches if other is match or match.agrees(other)}
            if len(agreeing) >= MATCHES:
                return match
        return None

    def _join(self, match: _Match, world: Map) -> list[Correction]:
        """Everything that lies apart moves alike."""
        apart = [submap for submap in world.submaps if world.apart is not None and submap.id >= world.apart]
        text = f"the camera was found in the loaded map, after {self._looked} images"
        self._complaints.settle(SEARCH, text)
        counts = self.counts
        self._begin_search()
        self.counts = counts
        world.join()
        return [Correction(each.id, match.world_from_apart @ each.world_from_submap, text) for each in apart]


def keyframes_from(state: Mapping[str, NDArray[Any]]) -> list[Keyframe]:
    """The keyframes in the saved state of a corrector that keeps some; raises KeyError or ValueError for others."""
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for name in state:
        number, _, part = name.partition(".")
        if number.isdecimal() and part:
            parts.setdefault(number, {})[part] = state[name]
    return [Keyframe.load(parts[number]) for number in sorted(parts, key=int)]


def _alike(frames: Sequence[Frame]) -> NDArray[np.float32]:
    """Descriptors that make a candidate of every keyframe, the first ones first."""
    return np.ones((len(frames), 1), np.float32)


def _nearest(world_from_camera: Sim3, keyframes: Sequence[Keyframe], places: Mapping[int, Sim3]) -> list[Keyframe]:
    """The keyframes that were taken nearest to a camera."""

    def distance(keyframe: Keyframe) -> float:
        place = places[keyframe.submap]
        step = world_from_camera.inverse() @ place.carry(keyframe.submap_from_camera)
        away = float(np.linalg.norm(step.translation)) / (keyframe.depth * place.scale)
        return away + float(np.degrees(step.rotation_angle())) / DEGREES_A_DEPTH

    return sorted((each for each in keyframes if each.submap in places), key=distance)[:NEAREST]
