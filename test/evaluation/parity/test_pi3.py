from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, found_sets
from spann3r_ros.evaluation.parity.replay import replay


def the_set(golden: Path) -> RecordedSet:
    return found_sets(golden / "pi3_tiny_config.json")[0]


def changed(golden: Path, tmp_path: Path, name: str, tensor: torch.Tensor) -> dict[str, ParityReport]:
    original = the_set(golden)
    save_file({**load_file(original.recording_files[0]), name: tensor}, tmp_path / "case.safetensors")
    return replay(RecordedSet("x", original.config, original.weight_files, (tmp_path / "case.safetensors",)))


def test_every_recorded_tensor_and_mask_equals_the_published_network(golden: Path) -> None:
    reports = replay(the_set(golden))
    assert set(reports) == {"landscape", "square_native", "batch2", "single", "preprocess", "edge_filter"}
    for case, report in reports.items():
        assert report.worst()[0] < 2e-5 and not report.disagreements and not report.unknown, case
    assert {"dec_block", "camera_9d", "local_points", "the model's poses"} <= set(reports["landscape"].comparisons)
    assert reports["preprocess"].worst()[0] == 0.0


@pytest.mark.parametrize(
    "name",
    ["landscape/dec_block05", "batch2/camera_poses", "preprocess/output", "edge_filter/normals", "single/points"],
)
def test_a_changed_tensor_is_noticed(name: str, golden: Path, tmp_path: Path) -> None:
    tensor = load_file(the_set(golden).recording_files[0])[name].clone()
    tensor.view(-1)[-2] += 0.01 * tensor.abs().max()
    reports = changed(golden, tmp_path, name, tensor)
    assert max(report.worst() for report in reports.values())[0] > 5e-3


@pytest.mark.parametrize("name", ["landscape/mask_final", "landscape/depth_edge_rtol", "edge_filter/normal_edge"])
def test_a_changed_mask_is_noticed(name: str, golden: Path, tmp_path: Path) -> None:
    tensor = load_file(the_set(golden).recording_files[0])[name].clone()
    tensor.view(-1)[100] = 1 - tensor.view(-1)[100]
    found = [line for report in changed(golden, tmp_path, name, tensor).values() for line in report.disagreements]
    assert found == [f"{name}: pixels that differ beyond 0: 1, recorded 0"]


def test_a_changed_weight_and_a_changed_size_are_noticed(golden: Path, tmp_path: Path) -> None:
    original = the_set(golden)
    weights = dict(original.weights)
    weights["decoder.3.attn.k_norm.bias"] = weights["decoder.3.attn.k_norm.bias"] + 0.1
    save_file(weights, tmp_path / "weights.safetensors")
    config = {**original.config, "preprocess": {**original.config["preprocess"], "size_table": [[640, 480, 574, 420]]}}
    reports = replay(RecordedSet("x", config, (tmp_path / "weights.safetensors",), original.recording_files))
    assert reports["landscape"].worst()[0] > 1e-4
    assert reports["landscape"].disagreements == ["size of the image 640 x 480: [574, 434], recorded [574, 420]"]


def test_a_variation_that_does_not_exist_here_is_refused(golden: Path) -> None:
    original = the_set(golden)
    model = {**original.config["model"], "decoder": {**original.config["model"]["decoder"], "qk_norm": False}}
    config = {**original.config, "model": model}
    with pytest.raises(DataError, match=r"'qk_norm' of a recorded network: got False; expected True"):
        replay(RecordedSet("x", config, original.weight_files, original.recording_files))
