"""What the benchmark of a family states; how fast a machine is asserts nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from spann3r_ros.cli.main import main
from spann3r_ros.evaluation.family_benchmark import measure_family
from spann3r_ros.models import registry
from spann3r_ros.models.speeds import FamilySpeed, read_speeds, write_speeds


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for rows in (registry.FAMILIES, registry.RELOCALIZERS, registry.DESCRIPTORS):
        for name, row in rows.items():
            monkeypatch.setitem(rows, name, dataclasses.replace(row, architecture=row.tiny))


@pytest.mark.parametrize("name", registry.all_families())
def test_every_family_is_measured(name: str) -> None:
    row = registry.all_families()[name]
    speed = measure_family(name, "fp32", 3, "cpu", None)
    assert (speed.height, speed.width) == row.architecture.image_size
    assert speed.frames == 3 and speed.seconds > 0 and speed.peak > speed.weights > 0 and "PyTorch" in speed.machine


@pytest.mark.parametrize(
    "name",
    [name for name, row in registry.FAMILIES.items() if row.kind == "window"]
    or [pytest.param("", marks=pytest.mark.skip("no family of windows"))],
)
def test_a_window_of_one_frame_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--apart", "--family", name, "--precision", "fp32", "--frames", "1"]) == 2
    assert "expected 2 or more" in capsys.readouterr().err


def test_measurements_take_the_place_of_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "speeds.json"
    old = FamilySpeed("dust3r", "fp32", 48, 64, 3, 9.0, 1.0, 0.5, 7, 0.1, "a machine", "2026-01-01")
    write_speeds(target, [old, dataclasses.replace(old, precision="bf16")])
    monkeypatch.setattr("spann3r_ros.cli.bench.measure_family_apart", lambda *_: dataclasses.replace(old, seconds=2.0))
    assert main(["bench", "--family", "dust3r", "--precision", "fp32", "--write", str(target)]) == 0
    assert [(row.precision, row.seconds) for row in read_speeds(target)] == [("bf16", 9.0), ("fp32", 2.0)]
    assert "64x48" in capsys.readouterr().out and read_speeds(tmp_path / "none.json") == []
