from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs numba")

from spann3r_ros.cli import bench
from spann3r_ros.cli.main import main
from spann3r_ros.evaluation import frame_benchmark
from spann3r_ros.evaluation.frame_benchmark import measure_parts, run_long, there_and_back, walk_frames
from spann3r_ros.frame import Frame


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return walk_frames(8)


def test_each_part_is_measured_from_the_first_that_counts(frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_benchmark, "FIRST", 2)
    monkeypatch.setattr(frame_benchmark, "FULL", 15_000)
    published = []
    parts = measure_parts(frames, published.append)
    assert set(parts) >= {"preprocessing", "pose", "insertion, growing map", "insertion, full map that forgets"}
    for name, figures in parts.items():
        assert 0 < figures["min"] <= figures["p50"] <= figures["p95"], name
    apart = sum(figures["min"] for name, figures in parts.items() if "full" not in name and "all" not in name)
    assert parts["all, growing map"]["p95"] > apart
    assert len(published) == len(frames) - 1, "the last frame is answered with the one after it"
    assert all(answer.world_from_camera is not None for answer in published)


def test_a_long_run_tells_time_and_memory_of_each_block(frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_benchmark, "BLOCK", 4)
    told = []
    result = run_long(frames, 12, lambda so_far: told.append(len(so_far["blocks"])))
    assert told == [1, 2, 3] and [block["frames"] for block in result["blocks"]] == [4, 8, 12]
    second, last = result["blocks"][1:]
    assert result["time_growth"] == pytest.approx(last["ms"] / second["ms"] - 1)
    assert result["memory_growth"] == pytest.approx(last["resident"] / second["resident"] - 1)
    assert last["points"] > 1000 and 0 < last["outside_ms"] < last["ms"]
    json.dumps(result, allow_nan=False)


def test_a_walk_goes_there_and_back_without_a_jump(frames: list[Frame]) -> None:
    again = list(itertools.islice(there_and_back(frames), 30))
    assert [frame.index for frame in again] == list(range(30))
    assert (np.diff([frame.stamp for frame in again]) == 100_000_000).all()
    places = [next(i for i, frame in enumerate(frames) if frame.image is other.image) for other in again]
    assert (np.abs(np.diff(places)) == 1).all()


def test_the_command_keeps_the_sections_apart(
    frames: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed: run `make setup`")
    from spann3r_ros.cli import frame_benchmarks

    monkeypatch.setattr(frame_benchmarks, "walk_frames", lambda _count: frames)
    monkeypatch.setattr(frame_benchmark, "FIRST", 2)
    for module in (frame_benchmark, frame_benchmarks):
        monkeypatch.setattr(module, "BLOCK", 4)
    assert main(["bench", "--frame", "--long", "4", "--output", str(tmp_path)]) == 0
    assert "preprocessing" in capsys.readouterr().out
    sections = json.loads((tmp_path / bench.BENCH_FILE).read_text())
    assert set(sections) == {"frame", "long"} and sections["frame"]["parts"]["pose"]["p50"] > 0
    assert main(["bench", "--long", "5", "--output", str(tmp_path)]) != 0
    assert "multiple of 4" in capsys.readouterr().err
