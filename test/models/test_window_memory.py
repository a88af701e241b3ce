from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spann3r_ros.errors import ConfigError
from spann3r_ros.models import window_memory
from spann3r_ros.models.window_memory import available_bytes, require_memory, window_bytes

CPU = torch.device("cpu")


def test_more_frames_larger_images_and_more_precise_numbers_take_more() -> None:
    base = {"tokens": 1000, "width": 64, "dtype": torch.bfloat16, "kept": 128, "pixels": 10_000}
    least = window_bytes(**base)  # type: ignore[arg-type]
    assert least == 1000 * 64 * 12 * 2 + 1000 * 128 * 2 + 10_000 * 32
    for change in (
        {"tokens": 2000},
        {"dtype": torch.float32},
        {"pixels": 20_000},
        {"map_channels": 8, "map_pixels": 9},
    ):
        assert window_bytes(**(base | change)) > least  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused_with_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_memory, "available_bytes", lambda _device: 3_000_000_000)
    require_memory("a window", 2_999_999_999, CPU, "")
    with pytest.raises(
        ConfigError,
        match=r"memory for a window: got about 4\.2 GB; expected at most the 3\.0 GB that are free on cpu\. Less",
    ):
        require_memory("a window", 4_200_000_000, CPU, "Less")


def test_where_nobody_says_what_is_free_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_memory, "available_bytes", lambda _device: None)
    require_memory("a window", 1 << 60, CPU, "")


def test_the_smaller_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(window_memory, "_CGROUP", tmp_path)
    assert available_bytes(CPU) is None
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert available_bytes(CPU) == 4000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_bytes(CPU) == 4000 * 1024
    (tmp_path / "memory.max").write_text("3000\n")
    assert available_bytes(CPU) == 2000
