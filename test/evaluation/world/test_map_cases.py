"""The map's cases, on little data: what they count, and that they can miss."""

from __future__ import annotations

import time

import numpy as np
import pytest

from spann3r_ros.evaluation.world import map_cases
from spann3r_ros.evaluation.world.case import MISSED, MUST
from spann3r_ros.evaluation.world.map_cases import DemoMap, MovedMap, Restarts
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.mapping.map_view import MapView
from spann3r_ros.sim3 import Sim3


def test_a_map_of_few_frames_is_scored() -> None:
    found = DemoMap(frames=4).measure()
    score, accuracy, completion = (float(part.split()[0]) for part in found.text.split(";"))
    assert 0.0 < score < 1.0 and 0.0 < accuracy < 1.0 and 0.0 < completion < 1.0


def test_restarts_are_found_where_the_walk_was_and_one_that_is_placed_elsewhere_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Restarts(places=2, mapped=20, frames=6, beside=0.05)
    assert case.measure().text == "2 of 2; 0"
    away = Sim3(translation=np.array([3.0, 0.0, 0.0]))
    monkeypatch.setattr(map_cases, "umeyama", lambda found, true: away @ umeyama(found, true))
    finding = case.measure()
    assert (finding.text, finding.grade) == ("0 of 2; 2", MISSED)


def test_a_map_is_moved_as_a_whole_and_a_slow_one_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    found = MovedMap(points=20_000, submaps=4, repetitions=2).measure()
    assert found.grade == MUST and "of 30,240 points" in found.text
    copy, cloud = MapView.copy, MapView.cloud
    monkeypatch.setattr(MapView, "cloud", lambda *args: (time.sleep(1.1), cloud(*args))[1])
    assert MovedMap(points=2_000, submaps=2, repetitions=1).measure().grade == MISSED
    monkeypatch.setattr(MapView, "cloud", cloud)
    monkeypatch.setattr(MapView, "copy", lambda *args: (time.sleep(0.03), copy(*args))[1])
    assert MovedMap(points=2_000, submaps=2, repetitions=1).measure().grade == MISSED
