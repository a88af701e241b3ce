"""One pass of a reconstruction over a rendered walk, and how far it came out wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from spann3r_ros.config import Config, from_mapping
from spann3r_ros.errors import DataError, FrameError, GeometryError
from spann3r_ros.evaluation.trajectory_errors import TrajectoryErrors, evaluate_trajectory
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.runs.chosen_model import groups_for, reconstruction_for
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.trajectory import CameraPath


@dataclass(frozen=True, eq=False)
class Pass:
    """What came of one pass.

    Attributes:
        reconstruction: after its last frame.
        walk: what it saw.
        refused: frames that it did not take.
    """

    reconstruction: Reconstruction
    walk: RenderedWalk
    refused: int

    def errors(self) -> TrajectoryErrors | None:
        """Of the whole path after the best similarity; None where too few poses were found, or all in one place."""
        return path_errors(self.reconstruction, self.walk)

    def ate(self) -> float:
        """Root mean square position error in meters; NaN where there is none."""
        errors = self.errors()
        return float("nan") if errors is None else errors.ate.rmse


def run_pass(
    walk: RenderedWalk,
    values: Mapping[str, Any],
    after_frame: Callable[[Reconstruction, Sequence[WorldPrediction]], None] = lambda *_: None,
) -> Pass:
    """All frames of a walk through the reconstruction that parameters by name ask for.

    Args:
        walk: what it sees.
        values: dotted names and values.
        after_frame: told the reconstruction and its answers after every frame that it took.
    """
    reconstruction = reconstruction_for(walk, from_mapping(Config, values, groups_for(values)))
    refused = 0
    for frame in walk.frames():
        try:
            after_frame(reconstruction, reconstruction.process(frame))
        except FrameError:
            refused += 1
    reconstruction.flush()
    return Pass(reconstruction, walk, refused)


def path_errors(reconstruction: Reconstruction, walk: RenderedWalk) -> TrajectoryErrors | None:
    """How far the trajectory so far is from the truth, after the best similarity; None where nothing tells one."""
    poses = sorted(reconstruction.trajectory, key=lambda pose: pose.stamp)
    found = CameraPath.from_poses([pose.stamp for pose in poses], [pose.target_from_camera for pose in poses])
    truth = walk.ground_truth().trajectory
    assert truth is not None
    try:
        return evaluate_trajectory(found, truth, with_scale=True, max_gap=0)
    except (DataError, GeometryError):
        return None


def noisy_odometry(poses: Sequence[Sim3], share: float, seed: int) -> list[Sim3]:
    """``odom_from_camera`` of each pose: every step is wrong by a share of its length and of its angle.

    Args:
        poses: the true ones, rigid.
        share: standard deviation of the error of a step, in each direction, over its length.
        seed: of the errors.
    """
    rng = np.random.default_rng((seed, 91))
    odometry = [Sim3()]
    for before, after in pairwise(poses):
        step = before.inverse() @ after
        length = float(np.linalg.norm(step.translation))
        turn = Rotation.from_rotvec(share * step.rotation_angle() * rng.standard_normal(3)).as_matrix()
        shift = step.translation + share * length * rng.standard_normal(3)
        odometry.append(odometry[-1] @ Sim3.rigid(step.rotation @ turn, shift))
    return odometry
