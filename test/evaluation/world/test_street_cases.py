"""A drive through streets, short."""

from __future__ import annotations

import importlib.util

import pytest

from spann3r_ros.errors import ConfigError
from spann3r_ros.evaluation.world.case import AIM, MISSED, MUST
from spann3r_ros.evaluation.world.street_cases import StreetLoops


def test_time_and_memory_are_told() -> None:
    case = StreetLoops(seeds=2, submaps=30, loops=4)
    assert "0.3 km" in case.title() and "30 submaps, 4 loops" in case.title()
    if importlib.util.find_spec("gtsam") is None:
        with pytest.raises(ConfigError, match="GTSAM"):
            case.measure()
        return
    finding = case.measure()
    assert finding.grade in (AIM, MUST, MISSED) and finding.text.endswith(" GB") and " s (worst " in finding.text
