"""The model that ships, in the apartment that it knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from spann3r_ros.evaluation.world.case import (
    AIM,
    MISSED,
    MUST,
    Finding,
    NotMeasuredError,
    require_parameters,
    spread_text,
)
from spann3r_ros.evaluation.world.passes import noisy_odometry, run_pass
from spann3r_ros.frame import Frame
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, STYLES, Trajectories

SIZE = (256, 192)
"""(width, height) of the images; the model scales them down itself."""


@dataclass(frozen=True)
class ShippedWalks:
    """Long walks, with one memory and with submaps, and with submaps that odometry anchors.

    Attributes:
        walks: how many, by a robot and by hand in turn.
        frames: of each.
        submap_frames: of a submap.
        noise: of the odometry, over each step.
    """

    NAME: ClassVar[str] = "shipped_walks"
    MUST_TEXT: ClassVar[str] = "each better than the one before"
    AIM_TEXT: ClassVar[str] = "1.5 %"

    walks: int = 5
    frames: int = 1500
    submap_frames: int = 200
    noise: float = 0.01

    def title(self) -> str:  # noqa: D102
        return (
            f"shipped model, {self.frames:,}-frame walks ({self.walks}), single memory / submaps of "
            f"{self.submap_frames} / submaps + odometry: ATE / path"
        )

    def measure(self) -> Finding:  # noqa: D102
        scene = Scene.apartment()
        ways, styles = Trajectories(scene), sorted(STYLES)
        variants: dict[str, dict[str, Any]] = {"single memory": {}, "submaps": {"submap.frames": self.submap_frames}}
        missing = ""
        try:
            require_parameters("scale.source")
            variants["submaps + odometry"] = {**variants["submaps"], "scale.source": "odometry"}
        except NotMeasuredError as error:
            missing = f"; submaps + odometry not measured: {error}"
        found: dict[str, list[float]] = {name: [] for name in variants}
        for number in range(self.walks):
            poses = ways.walk(EVALUATION_SEED + number, self.frames, style=styles[number % len(styles)])
            priors = noisy_odometry(poses, self.noise, number)
            for name, values in variants.items():
                walk = RenderedWalk(scene, poses, *SIZE, priors=priors if "odometry" in name else None)
                errors = run_pass(walk, values).errors()
                length = float(np.linalg.norm(np.diff([pose.translation for pose in poses], axis=0), axis=1).sum())
                found[name].append(100 * errors.ate.rmse / length if errors else float("nan"))
        text = ", ".join(f"{name} {spread_text(values, ' %')}" for name, values in found.items()) + missing
        medians = [float(np.median(values)) for values in found.values()]
        improves = all(later < earlier for earlier, later in pairwise(medians))
        if missing or not improves:
            return Finding(text, MISSED)
        return Finding(text, AIM if medians[-1] <= 1.5 else MUST)


@dataclass(frozen=True)
class BlackThenElsewhere:
    """The camera is covered, and uncovered in another room: nothing of that may spoil the map of before.

    Attributes:
        seeds: how many.
        before, black, after: frames of each part; five a second.
    """

    NAME: ClassVar[str] = "black_then_elsewhere"
    MUST_TEXT: ClassVar[str] = "0"
    AIM_TEXT: ClassVar[str] = "0"

    seeds: int = 20
    before: int = 60
    black: int = 15
    after: int = 40

    def title(self) -> str:  # noqa: D102
        return (
            f"shipped model, black for {self.black / 5:g} s, then another room, {self.seeds} seeds: points that enter "
            "the submaps of before"
        )

    def measure(self) -> Finding:  # noqa: D102
        scene = Scene.apartment()
        ways = Trajectories(scene)
        entered = []
        for seed in range(self.seeds):
            first = ways.walk(EVALUATION_SEED + seed, self.before)
            second = _in_another_room(ways, first[-1], EVALUATION_SEED + 1000 + seed, self.after)
            walk = _Covered(scene, [*first, *first[-1:] * self.black, *second], self.before, self.black)
            before = _PointsBefore(self.before)
            entered.append(before.entered(run_pass(walk, {}, before.note).reconstruction))
        text = f"{spread_text([float(n) for n in entered], ' points', 4)}, none in {entered.count(0)} of {self.seeds}"
        return Finding(text, MISSED if any(entered) else AIM)


class _PointsBefore:
    """How many points the submaps had before the camera was covered.

    Args:
        first_covered: index of the first frame that is not of that time.
    """

    def __init__(self, first_covered: int) -> None:
        self._first_covered, self._allowed = first_covered, dict[int, int]()

    def note(self, run: Reconstruction, answers: Sequence[WorldPrediction]) -> None:
        """Called after every frame; the last answers of before may come with the first ones of afterwards."""
        known = [answer for answer in answers if answer.frame.index < self._first_covered]
        if len(known) == len(answers):
            self._allowed.update({submap.id: len(submap.voxels) for submap in run.map.submaps})
            return
        for submap in self._allowed:
            self._allowed[submap] += sum(answer.confidence.size for answer in known)

    def entered(self, run: Reconstruction) -> int:
        """Points that have entered those submaps since."""
        return sum(max(0, len(s.voxels) - self._allowed[s.id]) for s in run.map.submaps if s.id in self._allowed)


class _Covered(RenderedWalk):
    """A walk during which the camera is covered."""

    def __init__(self, scene: Scene, poses: Sequence[Sim3], begin: int, count: int) -> None:
        super().__init__(scene, poses, *SIZE)
        self._black = range(begin, begin + count)

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Those of the walk, black while the camera is covered."""
        for frame in super().frames(every):
            yield replace(frame, image=np.zeros_like(frame.image)) if frame.index in self._black else frame


def _in_another_room(ways: Trajectories, last: Sim3, seed: int, frames: int) -> list[Sim3]:
    """A walk that begins in another room than that of a pose."""
    here = int(ways.plan.room_at(last.translation[:2]))
    while True:
        poses = ways.walk(seed, frames)
        if int(ways.plan.room_at(poses[0].translation[:2])) != here:
            return poses
        seed += 100_000


@dataclass(frozen=True)
class DemoCamera:
    """How much the camera of the demo shakes.

    Attributes:
        frames: of the walk.
    """

    NAME: ClassVar[str] = "demo_camera"
    MUST_TEXT: ClassVar[str] = "<= 0.05 m, 1.0 deg"
    AIM_TEXT: ClassVar[str] = "0.03 m"

    frames: int = 200

    def title(self) -> str:  # noqa: D102
        return f"the demo's camera ({self.frames} frames, without JPEG), RPE over one frame"

    def measure(self) -> Finding:  # noqa: D102
        scene = Scene.apartment()
        poses = Trajectories(scene).walk(EVALUATION_SEED, self.frames, fps=10.0)
        errors = run_pass(RenderedWalk(scene, poses, 640, 480), {}).errors()
        if errors is None or errors.rpe_frame_translation is None or errors.rpe_frame_rotation is None:
            return Finding("too few poses", MISSED)
        shift, turn = errors.rpe_frame_translation.rmse, errors.rpe_frame_rotation.rmse
        grade = AIM if shift <= 0.03 and turn <= 1.0 else MUST if shift <= 0.05 and turn <= 1.0 else MISSED
        return Finding(f"{shift:.3f} m, {turn:.2f} deg", grade)
