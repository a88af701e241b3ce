"""Grades and texts of the cases."""

from __future__ import annotations

import math

import pytest

from spann3r_ros.evaluation.world.case import (
    AIM,
    MISSED,
    MUST,
    NotMeasuredError,
    graded,
    require_parameters,
    spread_text,
)


def test_small_figures_are_good() -> None:
    grades = [graded(value, must=0.2, aim=0.1) for value in (0.1, 0.15, 0.21, math.nan)]
    assert grades == [AIM, MUST, MISSED, MISSED]


def test_a_parameter_of_another_version_is_named() -> None:
    require_parameters("map.voxel_size", "simulated.seed")
    with pytest.raises(NotMeasuredError, match=r"no parameter map\.size and no loops\.wrong"):
        require_parameters("map.size", "map.voxel_size", "loops.wrong")


def test_texts_tell_median_worst_and_what_is_missing() -> None:
    assert spread_text([0.1, 0.3, 0.2], " m") == "0.2 m (worst 0.3 m)"
    assert spread_text([0.5]) == "0.5"
    assert spread_text([0.5, math.nan]) == "0.5, 1 without a figure"
    assert spread_text([math.nan]) == "no figure of 1"
