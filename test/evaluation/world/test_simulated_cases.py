"""Loops with the simulated network: what they are worth, and which of them are false."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest

from spann3r_ros.evaluation.world.case import AIM, MISSED, MUST
from spann3r_ros.evaluation.world.passes import run_pass
from spann3r_ros.evaluation.world.simulated_cases import LongRun, LookAlikeRooms, is_true
from spann3r_ros.mapping.pose_graph import LOOP, EdgeNoise, SubmapEdge
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories

needs_gtsam = pytest.mark.skipif(importlib.util.find_spec("gtsam") is None, reason="loops need GTSAM")


@needs_gtsam
def test_the_error_is_compared_with_and_without_loops() -> None:
    case = LongRun(seeds=1, frames=120, rounds=2, submap_frames=30)
    assert "120 frames, 2 rounds" in case.title()
    finding = case.measure()
    without, joined, ratio = map(float, re.findall(r"(\d[\d.e-]*)(?: m|$)", finding.text))
    assert ratio == pytest.approx(joined / without, rel=0.02) and finding.grade in (AIM, MUST, MISSED)


@needs_gtsam
def test_rooms_that_look_the_same_are_looked_at() -> None:
    finding = LookAlikeRooms(seeds=1, frames=60, submap_frames=20).measure()
    false, closed = map(int, re.findall(r"^(\d+) of (\d+) closed loops", finding.text)[0])
    assert false <= closed and finding.grade == (MISSED if false else AIM)


def test_a_loop_to_another_place_is_false() -> None:
    scene = Scene.apartment()
    walk = RenderedWalk(scene, Trajectories(scene).walk(EVALUATION_SEED, 40), 32, 24)
    world = run_pass(walk, {"model": "simulated", "submap.frames": 20}).reconstruction.map
    places = [submap.world_from_submap for submap in world.submaps]
    joined = places[0].inverse() @ places[1]
    noise = EdgeNoise(0.1, 0.1, 0.1)
    assert is_true(SubmapEdge(0, 1, joined, noise, LOOP), world, walk)
    unit = np.linalg.norm(world.submaps[0].poses[-1].target_from_camera.translation)
    away = Sim3.rigid(np.eye(3), np.array([0.0, 0.0, 8.0 * unit]))
    assert not is_true(SubmapEdge(0, 1, away @ joined, noise, LOOP), world, walk)
