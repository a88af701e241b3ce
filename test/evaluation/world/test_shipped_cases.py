"""The cases of the shipped model, short."""

from __future__ import annotations

import re

import numpy as np

from spann3r_ros.evaluation.world.case import AIM, MISSED
from spann3r_ros.evaluation.world.shipped_cases import (
    SIZE,
    BlackThenElsewhere,
    DemoCamera,
    ShippedWalks,
    _Covered,
    _in_another_room,
)
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories


def test_the_camera_is_covered_and_comes_out_in_another_room() -> None:
    scene = Scene.apartment()
    ways = Trajectories(scene)
    poses = ways.walk(EVALUATION_SEED, 5)
    after = _in_another_room(ways, poses[-1], EVALUATION_SEED, 3)
    rooms = [int(ways.plan.room_at(pose.translation[:2])) for pose in (poses[-1], after[0])]
    assert rooms[0] != rooms[1]
    images = [frame.image for frame in _Covered(scene, [*poses, *after], 2, 2).frames()]
    assert [not image.any() for image in images] == [False, False, True, True, *[False] * 4]
    assert images[0].shape == (*SIZE[::-1], 3)


def test_points_that_enter_the_old_submaps_are_counted() -> None:
    finding = BlackThenElsewhere(seeds=1, before=8, black=2, after=3).measure()
    count = float(re.findall(r"[\d.e+]+", finding.text)[0])
    assert finding.grade == (MISSED if count else AIM)


def test_walks_and_the_demo_are_measured() -> None:
    finding = ShippedWalks(walks=1, frames=30, submap_frames=15).measure()
    figures = re.findall(r"(single memory|submaps) ([\d.]+) %", finding.text)
    assert [name for name, _ in figures[:2]] == ["single memory", "submaps"]
    assert all(0 < float(value) < 100 for _, value in figures)
    shift = float(DemoCamera(frames=12).measure().text.split(" m")[0])
    assert np.isfinite(shift) and 0 < shift < 1
