"""Costs over tokens and sizes, and the computed bound of devices."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from spann3r_ros.evaluation import step_costs
from spann3r_ros.evaluation.step_costs import cost_of_sizes, cost_of_tokens, plot_costs, roofline, weights_gb
from spann3r_ros.models.spann3r import architecture
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture


def test_costs_grow_with_the_memory_and_the_image_and_are_drawn(tmp_path: Path) -> None:
    tokens = cost_of_tokens(2, architecture.TINY)
    assert [row["tokens"] for row in tokens] == [196 * stored for stored in (1, 5, 10, 15, 20, 25)]
    assert all(row["read_seconds"] > 0 for row in tokens)
    gflop = [row["gflop_per_frame"] for row in tokens]
    assert gflop == sorted(gflop) and gflop[0] < gflop[-1]
    sizes = cost_of_sizes([(48, 64), (96, 64)], 2, architecture.TINY)
    assert [row["tokens_per_frame"] for row in sizes] == [12, 24]
    assert sizes[1]["gflop_per_frame"] > 2 * sizes[0]["gflop_per_frame"] and sizes[0]["seconds_per_frame"] > 0
    plot_costs(tmp_path / "new" / "costs.png", tokens, sizes)
    picture = cv2.imread(str(tmp_path / "new" / "costs.png"))
    assert picture is not None and picture.std() > 10


def test_the_bound_is_the_larger_of_operations_and_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Spann3rArchitecture()
    assert weights_gb(full, "fp32") == pytest.approx(2.63, abs=0.01)
    assert weights_gb(full, "bf16") == pytest.approx(1.39, abs=0.01)
    monkeypatch.setattr(
        step_costs,
        "DEVICES",
        {"slow": step_costs.RatedDevice(1.0, 2.0, 1e6), "starved": step_costs.RatedDevice(1e6, 1e6, 1.0)},
    )
    fp32, bf16, starved, starved_half = roofline()
    assert fp32["seconds_per_frame"] == pytest.approx(fp32["gflop_per_frame"] / 1000)
    assert bf16["limit"] == "operations" and 0.5 < bf16["seconds_per_frame"] / fp32["seconds_per_frame"] < 0.7
    assert starved["seconds_per_frame"] == pytest.approx(weights_gb(full, "fp32")) and "weights" in starved["limit"]
    assert starved_half["seconds_per_frame"] == pytest.approx(weights_gb(full, "bf16"))
