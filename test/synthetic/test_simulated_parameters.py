"""Every parameter of the simulated network says what it does and refuses what it cannot be."""

from __future__ import annotations

import pytest

from spann3r_ros.config import Config, from_mapping
from spann3r_ros.errors import ConfigError
from spann3r_ros.parameter import parameters
from spann3r_ros.synthetic.simulated_parameters import SimulatedParameters


def test_defaults_are_allowed_and_described() -> None:
    entries = list(parameters(SimulatedParameters, prefix="simulated."))
    assert len(entries) == 16
    for entry in entries:
        assert entry.check(entry.default) == entry.default and entry.help.endswith(".")


@pytest.mark.parametrize(
    ("name", "value"), [("seed", -1), ("scale_drift", 1.5), ("loss_rate", 2.0), ("join", "glue"), ("outliers", "many")]
)
def test_others_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"simulated.{name}"):
        from_mapping(Config, {f"simulated.{name}": value}, (SimulatedParameters,))
