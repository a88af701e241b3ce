"""One pass over a rendered walk, with odometry as wrong as it is told to be."""

from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.evaluation.world.passes import noisy_odometry, path_errors, run_pass
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories

SCENE = Scene.apartment()
POSES = Trajectories(SCENE).walk(EVALUATION_SEED, 300)


def test_a_pass_finds_the_path_of_the_walk() -> None:
    seen: list[int] = []
    walk = RenderedWalk(SCENE, POSES[:40], 32, 24)
    exact = {f"simulated.{name}_drift": 0.0 for name in ("scale", "rotation", "translation")}
    done = run_pass(
        walk, {"model": "simulated", **exact}, lambda _, answers: seen.extend(a.frame.index for a in answers)
    )
    assert seen == list(range(40)) and done.refused == 0
    assert done.ate() < 1e-3
    first = run_pass(RenderedWalk(SCENE, POSES[:1] * 5, 32, 24), {"model": "simulated"})
    assert np.isnan(first.ate()) and path_errors(first.reconstruction, first.walk) is None


def test_odometry_is_wrong_by_a_share_of_each_step() -> None:
    odometry = noisy_odometry(POSES, 0.02, 5)
    steps = [[path[k].inverse() @ path[k + 1] for k in range(299)] for path in (POSES, odometry)]
    errors = [b.translation - a.translation for a, b in zip(*steps, strict=True)]
    lengths = [np.linalg.norm(step.translation) for step in steps[0]]
    moving = [k for k in range(299) if lengths[k] > 0.01]
    shares = np.array([errors[k] / lengths[k] for k in moving])
    assert np.sqrt(np.mean(shares**2)) == pytest.approx(0.02, rel=0.15)
    same, other = noisy_odometry(POSES, 0.02, 5), noisy_odometry(POSES, 0.02, 6)
    np.testing.assert_array_equal(same[-1].translation, odometry[-1].translation)
    assert np.linalg.norm(other[-1].translation - odometry[-1].translation) > 1e-4
    truth = (POSES[0].inverse() @ POSES[-1]).translation
    np.testing.assert_allclose(noisy_odometry(POSES, 0.0, 5)[-1].translation, truth, atol=1e-9)
