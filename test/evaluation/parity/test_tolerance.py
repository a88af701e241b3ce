from __future__ import annotations

import pytest

from spann3r_ros.evaluation.parity.tolerance import stated_tolerance

CONFIG = {
    "tolerance": {
        "mst/* and init/*": "2e-4 of the tensor maximum (known_poses4: 1e-3)",
        "clean_conf": "identical zero set up to 0.1 % of the pixels",
        "trees": "identical",
    }
}


@pytest.mark.parametrize(
    ("place", "case", "found"),
    [
        ("mst", "", 2e-4),
        ("init", "known_poses4", 1e-3),
        ("init", "mixed4", 2e-4),
        ("clean_conf", "", 1e-3),
        ("trees", "", 7.0),
        ("final", "", 7.0),
    ],
)
def test_the_number_of_a_place_is_read(place: str, case: str, found: float) -> None:
    assert stated_tolerance(CONFIG, place, 7.0, case) == pytest.approx(found)
