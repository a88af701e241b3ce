from __future__ import annotations

import re
from pathlib import Path

import pytest

from spann3r_ros.cli.main import main
from spann3r_ros.models.onnx import exporter
from spann3r_ros.models.onnx.manifest import is_exported

pytest.importorskip("onnxruntime", reason="no ONNX Runtime here: pip install onnxruntime")
pytest.importorskip("onnx", reason="no ONNX here: pip install onnx")


def test_export_prints_a_row_for_each_file_and_the_way_to_use_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "onnx"
    arguments = ["--checkpoint", "random", "--model", "dust3r", "--image-size", "32", "48"]
    assert main(["export", *arguments, "--onnx", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^encode\.onnx +0\.\d\d +\d\.\de-\d\d  encode of 1x3x32x48 -> 1x6x32$", printed, re.MULTILINE)
    assert f"model: dust3r, checkpoint: {folder}, backend: onnxruntime" in printed
    assert is_exported(folder)


def test_export_ends_with_1_when_a_stage_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("exporter", "cli"):
        target = exporter if module == "exporter" else __import__("spann3r_ros.cli.export", fromlist=["run"])
        monkeypatch.setattr(target, "TOLERANCE", 1e-12)
    assert main(["export", "--checkpoint", "random", "--model", "dust3r", "--onnx", str(tmp_path / "onnx")]) == 1
    assert "nothing was written" in capsys.readouterr().out
    assert not (tmp_path / "onnx").exists()
