"""Sparse alignment equals its recording at every stage, and what differs is noticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from spann3r_ros.cli.main import main

STEM = "mast3r_ga_tiny"


@pytest.fixture
def copied(golden: Path, tmp_path: Path) -> Path:
    for path in golden.glob(f"{STEM}_*"):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def test_every_stage_equals_the_recording(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", str(golden / f"{STEM}_config.json"), "--tolerance", "1e-5"]) == 0
    output = capsys.readouterr().out
    kinds = {line.split("  ")[0] for line in output.splitlines()}
    assert {"corres/xy1", "canon/reldepth", "anchor/idx", "tree_edges", "grad_first_fine/pp", "loss_curve"} <= kinds
    assert {"fine/cam2root", "fine/depth", "coarse/intrinsics", "lr_curve"} <= kinds and "not compared" not in output


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("case", "default/corres.1_2/xy2"),
        ("case", "default/corres.0_1/xy2"),  # given, as this pair's descriptors are left out
        ("case", "default/tree_root"),
        ("case", "default/anchor.3/pixels"),
        ("case", "default/canon.0/reldepth"),
        ("case", "mst/fine/cam2root"),
        ("first", "pred/0_1/pts3d_11"),
        ("second", "pred/1_2/desc_conf_11"),
    ],
)
def test_a_change_is_noticed(file: str, name: str, copied: Path) -> None:
    path = copied / f"{STEM}_{file}.safetensors"
    tensors = load_file(path)
    changed = tensors[name].clone()
    if name.startswith("pred/"):
        changed *= 1.05
    else:
        changed.view(-1)[0] += 1
    save_file({**tensors, name: changed}, path)
    assert main(["parity", str(copied / f"{STEM}_config.json")]) == 1
