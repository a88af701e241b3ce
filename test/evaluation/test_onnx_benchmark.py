from __future__ import annotations

import pytest
from exported import config_of

from spann3r_ros.evaluation.onnx_benchmark import measure_onnxruntime
from spann3r_ros.models.onnx.trial import load_for_export

pytest.importorskip("onnxruntime", reason="no ONNX Runtime here: pip install onnxruntime")
pytest.importorskip("onnx", reason="no ONNX here: pip install onnx")


def test_both_backends_take_the_same_frames_and_say_the_same() -> None:
    speeds = measure_onnxruntime(load_for_export(config_of("spann3r"), "random", "spann3r"), frames=2)
    assert min(speeds.torch, speeds.onnxruntime, speeds.torch_processor, speeds.onnxruntime_processor) > 0
    assert 0 < speeds.difference < 1e-4 and speeds.frames == 2
