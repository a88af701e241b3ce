from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spann3r_ros.cli.main import main
from spann3r_ros.evaluation.parity.recorded_set import found_sets
from spann3r_ros.evaluation.parity.replay import replay

STEM = "cut3r_tiny"


def copied(golden: Path, folder: Path, part: str, change: dict[str, torch.Tensor]) -> Path:
    """The recorded set, with some tensors of one of its files changed."""
    for file in golden.glob(f"{STEM}_*"):
        (folder / file.name).write_bytes(file.read_bytes())
    save_file({**load_file(golden / f"{STEM}_{part}.safetensors"), **change}, folder / f"{STEM}_{part}.safetensors")
    return folder / f"{STEM}_config.json"


def test_everything_that_was_recorded_is_compared_and_equal(golden: Path) -> None:
    (recorded,) = found_sets(golden / f"{STEM}_config.json")
    (report,) = replay(recorded).values()
    assert not report.unknown and not report.disagreements and report.worst()[0] < 3e-5
    kinds = {"pose_in", "pose_out", "state", "mem", "camera_pose", "c2w", "pts3d_world", "pts3d_in_other_view", "rgb"}
    kinds |= {"ray_map", "focal", "state_pos", "img_dec_block_00", "state_dec_block_00", "conf_self (stream_fp16rope)"}
    assert kinds <= set(report.comparisons)


CHANGED = {
    "stream/step_04.mem": "mem",
    "revisit/step_05.pose_in": "pose_in",
    "raymap/rgb_s2": "rgb",
    "raymap/ray_map": "ray_map",
    "focal/focal": "focal",
    "stream_fp16rope/step_02.state": "state (stream_fp16rope)",
}


def test_changed_recordings_are_noticed(golden: Path, tmp_path: Path) -> None:
    recording = load_file(golden / f"{STEM}_case.safetensors")
    for name in CHANGED:
        recording[name].view(-1)[-1] += 0.05 * recording[name].abs().max()
    (recorded,) = found_sets(copied(golden, tmp_path, "case", recording))
    (report,) = replay(recorded).values()
    for place, kind in CHANGED.items():
        assert report.comparisons[kind].error > 0.01, place
    assert [line.split(":")[0] for line in report.disagreements] == ["stream_fp16rope/step_02.state"]


def test_a_changed_weight_is_noticed(golden: Path, tmp_path: Path) -> None:
    name = "pose_retriever.write_blocks.1.cross_attn.projv.weight"
    weight = load_file(golden / f"{STEM}_weights.safetensors")[name] + 0.01
    assert main(["parity", str(copied(golden, tmp_path, "weights", {name: weight}))]) == 1


def test_a_query_without_the_stream_before_it_is_refused(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(golden, tmp_path, "case", {})
    config = json.loads(path.read_text())
    config["cases"] = [case for case in config["cases"] if case["name"] == "raymap"]
    path.write_text(json.dumps(config))
    assert main(["parity", str(path)]) == 2
    assert "the case 'stream' before it" in " ".join(capsys.readouterr().err.split())
