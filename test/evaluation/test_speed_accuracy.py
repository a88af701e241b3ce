"""A speed that is a default costs no accuracy."""

from __future__ import annotations

import pytest

from spann3r_ros.blocks.packed_linear import can_pack
from spann3r_ros.evaluation.speed_accuracy import DEAREST, PLAIN, measure_accuracy


def test_each_speed_is_compared_with_plain_fp32_and_with_the_truth() -> None:
    found = measure_accuracy(6)
    assert set(found) == {PLAIN, "fp32", "bf16"}
    for entry in found.values():
        assert 0 < entry["pointmap_error"] < 0.3 and 0 < entry["ate_over_path"] < 0.5 and entry["frames"] == 6
        assert entry["median_difference"] <= entry["p99_difference"] < 0.1
    plain, packed, half = found[PLAIN], found["fp32"], found["bf16"]
    assert plain["added_error"] == plain["p99_difference"] == 0
    assert packed["p99_difference"] < 1e-4 and abs(packed["added_error"]) < DEAREST, "the default"
    assert half["median_difference"] > 1e-4, "bf16 is really another precision"
    if can_pack():
        assert packed["p99_difference"] > 0, "packed layers were really used"


def test_plain_is_measured_whatever_is_asked_for() -> None:
    found = measure_accuracy(3, ["bf16"])
    assert list(found) == [PLAIN, "bf16"]
    expected = found["bf16"]["pointmap_error"] / found[PLAIN]["pointmap_error"] - 1
    assert found["bf16"]["added_error"] == pytest.approx(expected)
