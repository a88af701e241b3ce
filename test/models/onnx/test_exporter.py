from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from exported import config_of, exported

from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError, ConfigError, DataError
from spann3r_ros.models.onnx import exporter
from spann3r_ros.models.onnx.exported_model import read_exported
from spann3r_ros.models.onnx.exporter import export_model
from spann3r_ros.models.onnx.trial import ExportTrial, load_for_export

pytest.importorskip("onnxruntime", reason="no ONNX Runtime here: pip install onnxruntime")
pytest.importorskip("onnx", reason="no ONNX here: pip install onnx")


def trial(name: str = "dust3r") -> ExportTrial:
    return load_for_export(config_of(name), "random", name)


def test_every_stage_is_reported_with_its_size_and_difference(tmp_path: Path) -> None:
    seen: list[exporter.StageReport] = []
    reports = export_model(trial(), tmp_path / "onnx", seen.append)
    assert reports == seen
    assert [report.file for report in reports] == ["encode.onnx", "decode.onnx", "head.onnx", "head_2.onnx"]
    assert all(0 < report.difference < 1e-5 for report in reports)  # 0 would be a comparison with itself
    assert reports[0].outputs == ((1, 12, 32),) and reports[0].call.shapes == ((1, 3, 48, 64),)
    assert reports[0].size == (tmp_path / "onnx" / "encode.onnx").stat().st_size


def test_a_stage_that_differs_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace that froze what depends on the input would differ so."""
    made = trial()
    stage = made.model.stages["head"]  # type: ignore[union-attr]
    whole = stage.function

    def frozen(*layers: torch.Tensor, **fixed: object) -> tuple[torch.Tensor, ...]:
        points, confidence = whole(*layers, **fixed)
        return points * float(1 + layers[-1][0, 0, 0]), confidence

    monkeypatch.setattr(stage, "function", frozen)
    reports = export_model(made, tmp_path / "onnx")
    assert max(report.difference for report in reports) > exporter.TOLERANCE
    assert list(tmp_path.iterdir()) == []


def test_large_weights_lie_beside_their_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "EXTERNAL_BYTES", 1000)
    reports = export_model(trial(), tmp_path / "onnx")
    assert (tmp_path / "onnx" / "encode.onnx.data").stat().st_size > 100_000
    assert (tmp_path / "onnx" / "encode.onnx").stat().st_size < reports[0].size - 100_000
    assert len(read_exported(tmp_path / "onnx", "cpu", torch.device("cpu")).sessions) == 4


def test_an_older_export_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    shutil.copytree(exported("mast3r"), tmp_path / "onnx")  # which has a stage more
    export_model(trial(), tmp_path / "onnx")
    assert not (tmp_path / "onnx" / "describe.onnx").exists()
    (tmp_path / "onnx" / "mine.txt").write_text("kept")
    with pytest.raises(DataError, match=r"mine\.txt"):
        export_model(trial(), tmp_path / "onnx")
    assert (tmp_path / "onnx" / "mine.txt").read_text() == "kept"


def test_a_size_that_was_asked_for_is_that_of_the_model(tmp_path: Path) -> None:
    config = Config(model="spann3r", image_height=32, image_width=48)
    reports = export_model(load_for_export(config, "random"), tmp_path / "onnx")
    assert reports[0].call.shapes == ((1, 3, 32, 48),)
    assert read_exported(tmp_path / "onnx", "cpu", torch.device("cpu")).manifest.image_size == (32, 48)


def test_a_pytorch_without_the_exporter_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_arguments: object, **_names: object) -> None:
        raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")

    monkeypatch.setattr(torch.onnx, "export", absent)
    with pytest.raises(ConfigError, match=r"No module named 'onnxscript'.*`pip install onnx onnxruntime`"):
        export_model(trial(), tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_family_that_the_file_is_not_of_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected spann3r \| dust3r"):
        load_for_export(Config(), "random", "nobody")
    with pytest.raises(CheckpointError, match="of another family: got spann3r; expected cut3r"):
        load_for_export(Config(), "shipped", "cut3r")
    with pytest.raises(CheckpointError, match="there is no file"):
        load_for_export(Config(), str(tmp_path / "missing.pth"))
