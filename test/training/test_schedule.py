"""The curriculum is a pure function of the step, and walks take turns without gaps."""

from __future__ import annotations

from itertools import pairwise

import pytest

from spann3r_ros.errors import ConfigError
from spann3r_ros.training.schedule import Curriculum, Stage

PAIRS = Stage("pairs", 10, 4, 2, gap=(1, 5), truth=(1, 0))
WALKS = Stage("walks", 200, 2, 5, walks=4, walk_frames=41, walk_every=2)


def test_stages_follow_each_other_and_ramps_reach_their_ends() -> None:
    curriculum = Curriculum((PAIRS, WALKS), warmup=5, decay=20)
    assert curriculum.steps == 210
    first, last = curriculum.plan(0), curriculum.plan(9)
    assert (first.stage.name, first.gap, first.truth) == ("pairs", 1, 1)
    assert (last.stage.name, last.gap, last.truth) == ("pairs", 5, 0)
    assert curriculum.plan(10).stage.name == "walks"
    with pytest.raises(ConfigError, match="209"):
        curriculum.plan(210)


def test_learning_rate_rises_stays_falls_and_follows_the_stage() -> None:
    curriculum = Curriculum((PAIRS, Stage("clips", 90, 4, 5, rate=2.0)), warmup=5, decay=50)
    assert curriculum.learning_rate(0) == pytest.approx(0.2)
    assert curriculum.learning_rate(7) == 1.0
    assert curriculum.learning_rate(20) == 2.0
    assert curriculum.learning_rate(75) == pytest.approx(1.0)
    assert curriculum.learning_rate(99) == pytest.approx(0.04)


def test_every_walk_is_seen_window_by_window_from_its_origin_to_its_end() -> None:
    curriculum = Curriculum((WALKS,))
    windows = [window for step in range(curriculum.steps) if (window := curriculum.plan(step).window) is not None]
    assert len(windows) == 100
    for group in range(4):
        mine = [window for window in windows if window.group == group]
        for before, after in pairwise(mine):
            if before.last:
                assert (after.walk, after.first) == (before.walk + 1, 0)
            else:
                assert (after.walk, after.first, after.origin) == (before.walk, before.first + 4, before.origin)
        assert mine[0].first == mine[0].origin
        assert mine[-1].last


def test_groups_begin_at_different_ages() -> None:
    curriculum = Curriculum((WALKS,))
    firsts = {curriculum.plan(step).window.first for step in (0, 2, 4, 6)}  # type: ignore[union-attr]
    assert firsts == {0, 8, 20, 28}


def test_walk_length_must_be_whole_windows() -> None:
    with pytest.raises(ConfigError, match="1 \\+ a multiple of 4"):
        Stage("walks", 10, 1, 5, walks=1, walk_frames=40)
