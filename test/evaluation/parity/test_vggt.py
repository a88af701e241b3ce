from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, found_sets
from spann3r_ros.evaluation.parity.replay import replay


def the_set(golden: Path) -> RecordedSet:
    return found_sets(golden / "vggt_tiny_config.json")[0]


def test_every_recorded_tensor_equals_the_published_network(golden: Path) -> None:
    reports = replay(the_set(golden))
    assert set(reports) == {"landscape", "single_small", "functions", "epsilon", "preprocess"}
    for case, report in reports.items():
        assert report.worst()[0] < 2e-5, case
        assert not report.disagreements
    unknown = {name for report in reports.values() for name in report.unknown}
    assert not unknown


def test_a_loader_s_images_are_compared_to_the_last_pixel(golden: Path) -> None:
    report = replay(the_set(golden))["preprocess"]
    assert report.worst()[0] == 0.0 and report.comparisons["mean"].count >= 10


@pytest.mark.parametrize(
    "name",
    [
        "landscape/camera.iter_2.trunk_01",
        "landscape/depth.raw_s7",
        "single_small/depth_conf",
        "functions/uv_embed_7x5_c8",
        "epsilon/frame_block_00.out",
        "preprocess/01_pad_s74",
    ],
)
def test_a_changed_tensor_is_noticed(name: str, golden: Path, tmp_path: Path) -> None:
    original = the_set(golden)
    tensors = load_file(original.recording_files[0])
    changed = tensors[name].clone()
    changed.view(-1)[-1] += 0.01 * changed.abs().max()
    save_file({**tensors, name: changed}, tmp_path / "case.safetensors")
    report = replay(RecordedSet("x", original.config, original.weight_files, (tmp_path / "case.safetensors",)))
    worst = max(report.values(), key=lambda found: found.worst()[0])
    assert worst.worst()[0] > 5e-3 and worst.worst()[1] == name


def test_the_epsilons_are_told_apart(golden: Path) -> None:
    original = the_set(golden)
    case = replay(original)["epsilon"]
    assert len(case.comparisons) >= 10 and case.worst()[0] < 1e-6
    tensors = load_file(original.recording_files[0])
    x = tensors["epsilon/aggregator.frame_blocks.0.norm1.in"]
    report = ParityReport()
    weights = {name.rsplit(".", 1)[1]: w for name, w in original.weights.items() if ".frame_blocks.0.norm1." in name}
    wrong = torch.layer_norm(x, x.shape[-1:], weights["weight"], weights["bias"], 1e-6)
    report.compare("norm", "norm", wrong, tensors["epsilon/aggregator.frame_blocks.0.norm1.out"])
    assert report.worst()[0] > 1e-3


def test_images_alone_are_enough_of_a_case(golden: Path, tmp_path: Path) -> None:
    original = the_set(golden)
    tensors = {
        name: t for name, t in load_file(original.recording_files[0]).items() if name.startswith("single_small/")
    }
    kept = {name: tensors[name] for name in ("single_small/images_u8", "single_small/pose_enc")}
    save_file(kept, tmp_path / "case.safetensors")
    config = json.loads(json.dumps(original.config))
    del config["preprocess_cases"]
    reports = replay(RecordedSet("x", config, original.weight_files, (tmp_path / "case.safetensors",)))
    assert list(reports) == ["single_small"] and list(reports["single_small"].comparisons) == ["pose_enc"]
