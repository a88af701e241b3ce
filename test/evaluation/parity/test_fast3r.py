from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from spann3r_ros.cli.main import main
from spann3r_ros.evaluation.parity.recorded_set import found_sets
from spann3r_ros.evaluation.parity.replay import replay

STEM = "fast3r_tiny"


def copied(golden: Path, folder: Path, part: str, change: dict[str, torch.Tensor]) -> Path:
    """The recorded set, with some tensors of one of its files changed."""
    for file in golden.glob(f"{STEM}_*"):
        (folder / file.name).write_bytes(file.read_bytes())
    save_file({**load_file(golden / f"{STEM}_{part}.safetensors"), **change}, folder / f"{STEM}_{part}.safetensors")
    return folder / f"{STEM}_config.json"


def test_everything_that_was_recorded_is_compared_and_equal(golden: Path) -> None:
    (recorded,) = found_sets(golden / f"{STEM}_config.json")
    reports = replay(recorded)
    assert set(reports) == {"views", "cameras"}
    for report in reports.values():
        assert not report.unknown and not report.disagreements and report.worst()[0] < 4e-5
    kinds = set(reports["views"].comparisons)
    assert {"pts3d_in_other_view", "pts3d_local", "conf", "conf_local", "feat", "dec_input", "dec_norm"} <= kinds
    assert {"focals", "c2w", "pts3d_local_aligned_to_global"} == set(reports["cameras"].comparisons)


CHANGED = {
    "mixed/view_01.pts3d_local_s4": "pts3d_local",
    "batch2/dec_norm": "dec_norm",
    "attn_bias/view_01.conf_s4": "conf",
    "image_idx_emb_rows": "image_idx_emb_rows",
    "camera/individual.c2w": "c2w",
    "camera/first_view_from_global_head.focals": "focals",
}


def test_changed_recordings_are_noticed(golden: Path, tmp_path: Path) -> None:
    recording = load_file(golden / f"{STEM}_case.safetensors")
    for name in CHANGED:
        recording[name].view(-1)[-1] += 0.05 * recording[name].abs().max()
    ids = recording["sequential_ids/image_ids"].flip(-1)
    (recorded,) = found_sets(copied(golden, tmp_path, "case", {**recording, "sequential_ids/image_ids": ids}))
    reports = replay(recorded)
    found = {kind: entry for report in reports.values() for kind, entry in report.comparisons.items()}
    for place, kind in CHANGED.items():
        assert found[kind].error > 0.01, place
    assert {line.split(":")[0] for report in reports.values() for line in report.disagreements} == {
        "sequential_ids/image_ids",
        "camera/individual.c2w",
        "camera/first_view_from_global_head.focals",
    }


def test_a_changed_weight_is_noticed(golden: Path, tmp_path: Path) -> None:
    name = "decoder.dec_blocks.7.attn.qkv.weight"
    weight = load_file(golden / f"{STEM}_weights.safetensors")[name] + 0.01
    assert main(["parity", str(copied(golden, tmp_path, "weights", {name: weight}))]) == 1
