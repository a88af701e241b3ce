"""The entries of the section; how fast a machine is asserts nothing."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from spann3r_ros.evaluation import full_size
from spann3r_ros.models.spann3r import architecture

KEYS = {"seconds_per_frame", "gflop_per_frame", "gemm_gflops", "limit_ratio"}


def test_every_path_has_an_entry_and_says_what_the_reference_says() -> None:
    found = full_size.measure_full_size(3, architecture.TINY)
    exported = ["onnxruntime"] if all(find_spec(name) for name in ("onnx", "onnxruntime")) else []
    assert list(found) == list(full_size.PATHS) == ["fp32_reference", "fp32", "bf16", *exported]
    for entry in found.values():
        assert all(entry[key] > 0 for key in KEYS)
        per_second = entry["gflop_per_frame"] / entry["gemm_gflops"]
        assert entry["limit_ratio"] == pytest.approx(entry["seconds_per_frame"] / per_second)
    reference, ours, half = (found[name] for name in ("fp32_reference", "fp32", "bf16"))
    assert reference["median_relative_error"] == reference["p99_relative_error"] == 0
    assert 0 <= ours["p99_relative_error"] < 1e-4 and 0 < half["median_relative_error"] < 0.1
    assert all(0 <= found[name]["p99_relative_error"] < 1e-4 for name in exported)
    assert (reference["frames"], half["frames"]) == (3, 2), "a slow path takes fewer frames"
    assert ours["gflop_per_frame"] < reference["gflop_per_frame"], "one head runs, not two"


def test_the_peak_is_more_than_the_weights() -> None:
    assert full_size.peak_rss_mb("fp32", architecture.TINY) > 50


def test_errors_are_relative() -> None:
    points = np.ones((2, 2, 3), np.float32)
    assert full_size.relative_errors([1.1 * points], [points, points]) == pytest.approx((0.1, 0.1), rel=1e-3)
