"""What the benchmark computes; how fast a machine is asserts nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_network

from spann3r_ros.cli.main import main
from spann3r_ros.errors import DataError
from spann3r_ros.evaluation import benchmark
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture


def test_the_difference_is_relative_and_a_median() -> None:
    reference = np.tile(np.array([0.0, 0.0, 2.0], np.float32), (5, 1))
    points = reference.copy()
    points[:3, 0] = 0.2
    points[4] = 1000.0
    assert benchmark.median_difference(points, reference) == pytest.approx(0.1)


def test_half_the_precision_is_close_on_the_recorded_sequence() -> None:
    found = benchmark.difference_on_recording()
    assert found is not None and 0 < found < 0.1


def test_a_checkout_without_the_recording_is_not_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark, "RECORDING", tmp_path / "missing")
    assert benchmark.difference_on_recording() is None


def test_the_network_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small: Spann3rArchitecture = tiny_network().architecture
    monkeypatch.setattr(benchmark, "Spann3rArchitecture", lambda: small)
    monkeypatch.setattr(benchmark, "SIDE", 48)
    speed = benchmark.measure_network("fp32", 4, "cpu", tmp_path / "maps.npy")
    assert 0 < speed.min <= speed.median <= speed.max and speed.first > 0
    size = sum(parameter.numel() * 4 for parameter in tiny_network().parameters()) / 1e9
    assert speed.weights == pytest.approx(size) and speed.peak > size
    assert np.load(tmp_path / "maps.npy").shape == (3, *small.trunk.image_size, 3)


def test_a_measurement_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise DataError("measuring fp32 failed", got="exit status 137")

    monkeypatch.setattr("spann3r_ros.cli.bench.measure_apart", fail)
    monkeypatch.setattr("spann3r_ros.cli.bench.difference_on_recording", lambda: 0.01)
    monkeypatch.setattr("spann3r_ros.cli.bench.seconds_of_parts", lambda _device: {"pose by PnP": 0.004})
    assert main(["bench", "--precision", "fp32"]) == 0
    printed = capsys.readouterr().out
    assert "fp32             failed with exit status 137" in printed and "1.00e-02" in printed and "4.00 ms" in printed


def test_the_parts_beside_the_network_are_timed() -> None:
    found = benchmark.seconds_of_parts("cpu")
    assert list(found) == [
        "memory read, 4980 tokens of 1024",
        "pose by PnP, 2000 of 50176 points",
        "map insertion, 50176 points",
    ]
    assert all(seconds > 0 for seconds in found.values())
