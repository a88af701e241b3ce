"""`demo`, shortened: the real node over real DDS, and everything that it promises on disk."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from spann3r_ros.cli import demo
from spann3r_ros.cli.main import main
from spann3r_ros.files.ply import read_ply


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing a hundred thousand points would take longer than all the rest."""
    monkeypatch.setattr(demo, "POINTS", 5_000)


@pytest.mark.slow
def test_the_demo_leaves_what_it_promises(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "-o", str(out), "--frames", "8", "--rate", "5"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["frames"] == 8 and metrics["frames_lost"] == 0 and metrics["weights"].startswith("demo weights")
    assert 0 < metrics["latency_p50_ms"] <= metrics["latency_p95_ms"] and metrics["rate_hz"] > 0
    # It knows this apartment: the points of a few frames are right to a fifth of the scene's scale.
    assert 0 < metrics["pointmap_error_sim3"] < 0.2 and metrics["ate_over_path"] is not None
    assert metrics["points"] == len(read_ply(out / "map.ply").points) > 1000
    assert len((out / "trajectory.txt").read_text().splitlines()) > 5
    picture = cv2.imread(str(out / "demo.png"))
    assert picture is not None and picture.std() > 10
    for name in ("demo.gif", "view.html", "report.html", "report.json", "bag"):
        assert (out / name).exists(), name
    assert "metrics.json" in capfd.readouterr().out


@pytest.mark.slow
def test_offline_gives_the_same_figures_without_a_node(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--offline", "-o", str(out), "--frames", "8", "--rate", "5"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["frames"] == metrics["frames_posed"] == 8 and metrics["points"] > 1000
    assert 0 < metrics["map_f_score"] < 1 and metrics["map_accuracy"] > 0 and metrics["rpe_frame"] > 0
    assert not (out / "node.log").exists()


def test_a_folder_of_something_else_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    assert main(["demo", "-o", str(tmp_path)]) == 2
    assert (tmp_path / "thesis.tex").read_text() == "precious"
