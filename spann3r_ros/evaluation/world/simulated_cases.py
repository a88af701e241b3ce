"""What loops are worth, and what they may cost: with the simulated network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spann3r_ros.config import SIMULATED
from spann3r_ros.evaluation.world.case import Finding, NotMeasuredError, graded, require_parameters, spread_text
from spann3r_ros.evaluation.world.passes import run_pass
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories

LOOPS = "loops.enabled"


@dataclass(frozen=True)
class LongRun:
    """A long run on one way, several times around: what loops make of the drift.

    Attributes:
        seeds: how many, each with a way and a drift of its own.
        frames, rounds: of each.
        submap_frames: of a submap.
    """

    NAME: ClassVar[str] = "long_run"
    MUST_TEXT: ClassVar[str] = "<= 1/5"
    AIM_TEXT: ClassVar[str] = "1/10"

    seeds: int = 20
    frames: int = 2000
    rounds: int = 3
    submap_frames: int = 100

    def title(self) -> str:  # noqa: D102
        return (
            f"simulated network, {self.frames:,} frames, {self.rounds} rounds through the apartment, "
            f"{self.seeds} seeds: ATE with loops / without"
        )

    def measure(self) -> Finding:  # noqa: D102
        ways, scene = Trajectories(Scene.apartment()), Scene.apartment()
        without: list[float] = []
        joined: list[float] = []
        for seed in range(self.seeds):
            walk = RenderedWalk(scene, ways.rounds(EVALUATION_SEED + seed, self.frames, self.rounds))
            values = {"model": SIMULATED, "simulated.seed": seed, "submap.frames": self.submap_frames}
            without.append(run_pass(walk, {**values, **_loops(False)}).ate())
            if _have_loops():
                joined.append(run_pass(walk, {**values, **_loops(True)}).ate())
        text = f"ATE without {spread_text(without, ' m')}"
        if not joined:
            raise NotMeasuredError(f"{text}; with loops: this version has no parameter {LOOPS}")
        ratios = [one / other for one, other in zip(joined, without, strict=True)]
        text += f", with {spread_text(joined, ' m')}; ratio {spread_text(ratios)}"
        return Finding(text, graded(float(np.median(ratios)), 1 / 5, 1 / 10))


def _have_loops() -> bool:
    try:
        require_parameters(LOOPS)
    except NotMeasuredError:
        return False
    return True


def _loops(enabled: bool) -> dict[str, Any]:
    """The parameter, where this version has it."""
    return {LOOPS: enabled} if _have_loops() else {}
