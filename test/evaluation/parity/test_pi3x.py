from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spann3r_ros.errors import CheckpointError
from spann3r_ros.evaluation.parity.pi3x import chunk_mask, joined
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, found_sets
from spann3r_ros.evaluation.parity.replay import replay
from spann3r_ros.sim3 import Sim3


def the_set(golden: Path) -> RecordedSet:
    return found_sets(golden / "pi3x_tiny_config.json")[0]


def test_every_recorded_tensor_equals_the_published_network(golden: Path) -> None:
    reports = replay(the_set(golden))
    assert set(reports) == {"image_only", "all_conditions", "partial", "chunks"}
    for case, report in reports.items():
        assert report.worst()[0] < 2e-5 and not report.disagreements and not report.unknown, case
    assert {"depth_tokens", "ray_tokens", "pose_inject", "metric"} <= set(reports["all_conditions"].comparisons)
    assert reports["chunks"].comparisons["sim3"].count == 3


@pytest.mark.parametrize(
    "name", ["all_conditions/pose_inject01", "partial/metric", "chunks/step_02.sim3", "image_only/point_up0"]
)
def test_a_changed_tensor_is_noticed(name: str, golden: Path, tmp_path: Path) -> None:
    original = the_set(golden)
    tensors = load_file(original.recording_files[0])
    tensor = tensors[name].clone()
    tensor.view(-1)[0] += 0.01 * tensor.abs().max()
    save_file({**tensors, name: tensor}, tmp_path / "case.safetensors")
    reports = replay(RecordedSet("x", original.config, original.weight_files, (tmp_path / "case.safetensors",)))
    worst = max(reports.values(), key=lambda report: report.worst()[0])
    assert worst.worst()[0] > 5e-3 and worst.worst()[1] == name


@pytest.mark.parametrize("name", ["in_depths", "in_intrinsics", "in_poses"])
def test_each_condition_is_told_to_the_network(name: str, golden: Path, tmp_path: Path) -> None:
    original = the_set(golden)
    tensors = load_file(original.recording_files[0])
    other = tensors[f"all_conditions/{name}"].clone()
    other[:, 1] = other[:, 1] * torch.tensor(1.5)
    save_file({**tensors, f"all_conditions/{name}": other}, tmp_path / "case.safetensors")
    reports = replay(RecordedSet("x", original.config, original.weight_files, (tmp_path / "case.safetensors",)))
    assert reports["all_conditions"].worst()[0] > 1e-3 and reports["image_only"].worst()[0] < 2e-5


def test_confidence_is_left_out_as_a_whole_or_not_at_all(golden: Path, tmp_path: Path) -> None:
    original = the_set(golden)
    assert not any(name.startswith("conf_") for name in original.weights)
    save_file({**original.weights, "conf_head.some.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"missing: conf_"):
        replay(RecordedSet("x", original.config, (tmp_path / "weights.safetensors",), original.recording_files))


def test_too_few_pixels_that_count_leave_the_surest_of_each_view_and_no_similarity() -> None:
    confidence = np.random.default_rng(0).uniform(0, 0.04, (2, 20, 30)).astype(np.float32)
    mask = chunk_mask(np.ones((2, 20, 30, 3), np.float32), confidence, 0.05)
    assert mask.reshape(2, -1).sum(axis=1).tolist() == [60, 60]
    assert confidence[mask].min() > confidence[~mask].max() - 0.01
    points, none = np.random.default_rng(0).normal(size=(2, 20, 30, 3)), np.zeros((2, 20, 30), bool)
    assert joined(points, none, points, mask).is_identity()
    moved = Sim3(2.0, np.eye(3), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(joined(points, mask, moved.apply(points), mask).matrix(), moved.matrix(), atol=1e-9)
