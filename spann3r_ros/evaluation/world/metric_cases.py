"""When a world may call itself metric: with the simulated network and odometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spann3r_ros.config import SIMULATED
from spann3r_ros.evaluation.world.case import AIM, MISSED, Finding, graded, require_parameters, spread_text
from spann3r_ros.evaluation.world.passes import noisy_odometry, path_errors, run_pass
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories, camera_pose

SOURCE = "scale.source"
TRUE_SCALE = 0.03
"""A scale that is wrong by more is not metric: the default of ``scale.max_deviation``."""


def _values(seed: int) -> dict[str, Any]:
    """The simulated network without drift of its unit, so that there is one true scale; the rest of it is wrong."""
    return {"model": SIMULATED, "simulated.seed": seed, "simulated.scale_drift": 0.0, SOURCE: "odometry"}


@dataclass(frozen=True)
class OdometryScale:
    """The scale that odometry gives a world whose unit nobody knew.

    Attributes:
        seeds: how many, each with a walk of its own.
        meters: of path.
        noise: of the odometry, over each step.
    """

    NAME: ClassVar[str] = "odometry_scale"
    MUST_TEXT: ClassVar[str] = "<= 1 %; always"
    AIM_TEXT: ClassVar[str] = "0.5 %"

    seeds: int = 20
    meters: float = 5.0
    noise: float = 0.01

    def title(self) -> str:  # noqa: D102
        return (
            f"odometry with {self.noise:.0%} noise, {self.seeds} seeds: scale error after {self.meters:g} m; "
            f"declared metric only when true (within {TRUE_SCALE:.0%})"
        )

    def measure(self) -> Finding:  # noqa: D102
        require_parameters(SOURCE)
        scene = Scene.apartment()
        ways = Trajectories(scene)
        errors: list[float] = []
        wrong = declared = 0
        for seed in range(self.seeds):
            poses = _first_meters(ways.walk(EVALUATION_SEED + seed, 400), self.meters)
            walk = RenderedWalk(scene, poses, priors=noisy_odometry(poses, self.noise, seed))
            told: list[float] = []

            def note(
                reconstruction: Reconstruction,
                _: Sequence[WorldPrediction],
                walk: RenderedWalk = walk,
                told: list[float] = told,
            ) -> None:
                if reconstruction.metric:
                    told.append(_scale_error(reconstruction, walk))

            done = run_pass(walk, _values(seed), note)
            errors.append(_scale_error(done.reconstruction, walk) if done.reconstruction.metric else float("nan"))
            declared += len(told)
            wrong += sum(error > TRUE_SCALE for error in told)
        text = f"{spread_text([100 * error for error in errors], ' %')}; wrongly metric {wrong} of {declared} frames"
        grade = graded(float(np.nanmax([*errors, -1.0])), 0.01, 0.005)
        return Finding(text, MISSED if wrong or any(map(np.isnan, errors)) else grade)


@dataclass(frozen=True)
class NoScale:
    """Odometry that tells no scale: a camera that turns on the spot, and odometry that stands still.

    Attributes:
        seeds: how many of both.
        frames: of each.
        noise: of the odometry, over each step; while turning it also trembles by a millimeter.
    """

    NAME: ClassVar[str] = "no_scale"
    MUST_TEXT: ClassVar[str] = "never"
    AIM_TEXT: ClassVar[str] = "never"

    seeds: int = 20
    frames: int = 150
    noise: float = 0.01

    def title(self) -> str:  # noqa: D102
        return f"pure rotation, and odometry that stands still, {self.seeds} seeds each: declared metric"

    def measure(self) -> Finding:  # noqa: D102
        require_parameters(SOURCE)
        scene = Scene.apartment()
        ways = Trajectories(scene)
        turning = standing = 0
        for seed in range(self.seeds):
            poses = ways.walk(EVALUATION_SEED + seed, self.frames)
            turning += _ever_metric(*_turning(poses[0], self.frames, seed, self.noise), scene, seed)
            standing += _ever_metric(poses, [Sim3()] * len(poses), scene, seed)
        text = f"turning {turning} of {self.seeds}, standing odometry {standing} of {self.seeds}"
        return Finding(text, MISSED if turning or standing else AIM)


def _turning(at: Sim3, frames: int, seed: int, noise: float) -> tuple[list[Sim3], list[Sim3]]:
    """Poses of a camera that turns all around on the spot, and what odometry says of it."""
    x, y, z = at.translation
    poses = [camera_pose(x, y, z, angle) for angle in np.linspace(0.0, 4 * np.pi, frames)]
    rng = np.random.default_rng((seed, 92))
    trembling = [Sim3.rigid(np.eye(3), 0.001 * rng.standard_normal(3)) for _ in poses]
    return poses, [pose @ shake for pose, shake in zip(noisy_odometry(poses, noise, seed), trembling, strict=True)]


def _ever_metric(poses: Sequence[Sim3], priors: Sequence[Sim3], scene: Scene, seed: int) -> bool:
    found: list[bool] = []
    run_pass(RenderedWalk(scene, poses, priors=priors), _values(seed), lambda run, _: found.append(run.metric))
    return any(found)


def _first_meters(poses: Sequence[Sim3], meters: float) -> list[Sim3]:
    """The poses up to a length of path."""
    steps = np.linalg.norm(np.diff([pose.translation for pose in poses], axis=0), axis=1)
    return list(poses[: int(np.searchsorted(np.cumsum(steps), meters)) + 2])


def _scale_error(reconstruction: Reconstruction, walk: RenderedWalk) -> float:
    """How far a meter of the world is from a meter, as a share; NaN where the path does not tell."""
    errors = path_errors(reconstruction, walk)
    return float("nan") if errors is None else abs(1.0 / errors.reference_from_estimate.scale - 1.0)
