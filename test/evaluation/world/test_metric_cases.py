"""When a world may call itself metric; the cases themselves are tried with a reconstruction that always does."""

from __future__ import annotations

import pytest

from spann3r_ros.evaluation.world import metric_cases, passes
from spann3r_ros.evaluation.world.case import MISSED
from spann3r_ros.evaluation.world.metric_cases import NoScale, OdometryScale, _first_meters, _turning
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories, camera_pose


@pytest.fixture
def boasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """This version, but every world says that it is metric."""
    monkeypatch.setattr(metric_cases, "require_parameters", lambda *_: None)
    monkeypatch.setattr(metric_cases, "_values", lambda seed: {"model": "simulated", "simulated.seed": seed})
    monkeypatch.setattr(Reconstruction, "metric", property(lambda _: True))


@pytest.mark.usefixtures("boasting")
def test_a_world_that_is_wrongly_metric_misses() -> None:
    finding = OdometryScale(seeds=1, meters=1.0).measure()
    assert finding.grade == MISSED and "wrongly metric 0 of" not in finding.text
    finding = NoScale(seeds=1, frames=8).measure()
    assert finding.grade == MISSED and finding.text == "turning 1 of 1, standing odometry 1 of 1"


def test_the_walks_are_what_their_titles_say() -> None:
    poses = Trajectories(Scene.apartment()).walk(EVALUATION_SEED, 300)
    some = _first_meters(poses, 2.0)
    walk = passes.RenderedWalk(Scene.apartment(), some, 16, 16)
    truth = walk.ground_truth().trajectory
    assert truth is not None and 2.0 <= truth.path_length() < 2.3
    turning, odometry = _turning(camera_pose(1, 1, 1, 0), 30, 0, 0.01)
    assert all((pose.translation == turning[0].translation).all() for pose in turning)
    assert max(abs(pose.translation).max() for pose in odometry) < 0.01
    assert "1%" in OdometryScale().title() and "20 seeds" in NoScale().title()
