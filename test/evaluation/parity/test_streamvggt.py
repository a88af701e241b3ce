from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, found_sets
from spann3r_ros.evaluation.parity.replay import replay


def the_set(golden: Path) -> RecordedSet:
    return found_sets(golden / "streamvggt_tiny_config.json")[0]


def test_every_recorded_tensor_equals_the_published_network(golden: Path) -> None:
    recorded = the_set(golden)
    report = replay(recorded)["landscape"]
    assert report.worst()[0] < 2e-5 and not report.unknown
    # All but the images, and the poses of the training's graph once more from a stream.
    assert sum(entry.count for entry in report.comparisons.values()) == len(recorded.recording) - 1 + 1
    assert {"pose_enc", "pose_enc, a cache an iteration", "agg.rope_k", "camera_kv_new.k"} <= set(report.comparisons)


@pytest.mark.parametrize(
    "name",
    [
        "landscape/step_04.pose_enc",
        "landscape/step_02.kv_new.k_05",
        "landscape/step_03.camera_kv_new.v_01",
        "landscape/step_02.agg.rope_k_00",
        "landscape/final.camera_k_00",
        "landscape/causal.pose_enc_iters",
    ],
)
def test_a_changed_tensor_is_noticed(name: str, golden: Path, tmp_path: Path) -> None:
    original = the_set(golden)
    tensors = load_file(original.recording_files[0])
    changed = tensors[name].clone()
    changed.view(-1)[-1] += 0.01 * changed.abs().max()
    save_file({**tensors, name: changed}, tmp_path / "case.safetensors")
    report = replay(RecordedSet("x", original.config, original.weight_files, (tmp_path / "case.safetensors",)))
    error, place = report["landscape"].worst()
    assert error > 5e-3 and place == name


def test_the_published_camera_cache_is_not_that_of_the_training(golden: Path, tmp_path: Path) -> None:
    original = the_set(golden)
    tensors = load_file(original.recording_files[0])
    swapped = {f"landscape/step_{t:02d}.pose_enc": tensors["landscape/causal.pose_enc"][:, t].clone() for t in range(5)}
    save_file({**tensors, **swapped}, tmp_path / "case.safetensors")
    report = replay(RecordedSet("x", original.config, original.weight_files, (tmp_path / "case.safetensors",)))
    assert report["landscape"].comparisons["pose_enc"].error > 0.05
