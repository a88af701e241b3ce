"""The long run with the simulated network."""

from __future__ import annotations

import pytest

from spann3r_ros.evaluation.world.case import AIM, MISSED, MUST, NotMeasuredError, require_parameters
from spann3r_ros.evaluation.world.simulated_cases import LOOPS, LongRun


def test_it_says_the_error_without_loops_and_compares_it_where_there_are_loops() -> None:
    case = LongRun(seeds=1, frames=90, rounds=2, submap_frames=30)
    assert "90 frames, 2 rounds" in case.title()
    try:
        require_parameters(LOOPS)
    except NotMeasuredError:
        with pytest.raises(NotMeasuredError, match=r"ATE without 0\.\d+ m; with loops: this version has no parameter"):
            case.measure()
    else:
        finding = case.measure()
        assert finding.grade in (AIM, MUST, MISSED) and "ratio" in finding.text
