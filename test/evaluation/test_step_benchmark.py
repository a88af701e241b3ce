"""The command measures every section, prints it and keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spann3r_ros.cli.main import main
from spann3r_ros.errors import DataError
from spann3r_ros.evaluation import full_size, step_benchmark, step_costs, step_flops
from spann3r_ros.evaluation.bench_file import BENCH_FILE, read_sections
from spann3r_ros.evaluation.bench_tables import TABLES
from spann3r_ros.evaluation.step_benchmark import BenchExtent
from spann3r_ros.models.processor import instructions
from spann3r_ros.models.spann3r import architecture


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (full_size, step_costs):
        monkeypatch.setattr(module, "Spann3rArchitecture", lambda: architecture.TINY)
    monkeypatch.setattr(step_flops.GemmRate.__init__, "__defaults__", (196, {(64, 32): 2}))
    extent = BenchExtent(steps=2, sizes=((48, 64), (96, 64)), size_steps=1, reads=2, walk=3)
    monkeypatch.setattr("spann3r_ros.cli.bench.SHORT", extent)


@pytest.mark.slow
def test_every_section_is_printed_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def peak(name: str) -> float:
        if name == "bf16":
            raise DataError("measuring the memory of bf16 failed", got="exit status -9")
        return 3000.0

    monkeypatch.setattr(step_benchmark, "peak_rss_mb_apart", peak)
    assert main(["bench", "--short", "--output", str(tmp_path)]) == 0
    printed, found = capsys.readouterr().out, read_sections(tmp_path / BENCH_FILE)
    assert set(found) >= {*TABLES, "parts", "cpu_flags", "machine", "threads", "torch", "date", "load"}
    assert found["cpu_flags"] == instructions() and found["torch"] == torch.__version__
    peaks = {name: entry.get("peak_rss_mb") for name, entry in found["full_size"].items()}
    assert peaks == {"fp32_reference": 3000.0, "fp32": 3000.0, "bf16": None, "onnxruntime": None}
    assert found["full_size"]["onnxruntime"]["p99_relative_error"] < 1e-4
    assert "bf16 failed" in printed and "not measured" in printed, "what could not be measured is said"
    for name, table in TABLES.items():
        assert table(found) in printed, name
    assert (tmp_path / "costs.png").stat().st_size > 1000


def test_the_peak_of_a_path_is_printed_by_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--peak", "fp32"]) == 0
    assert float(capsys.readouterr().out) > 50
