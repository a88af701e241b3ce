"""MASt3R equals its recording, and what differs from it is noticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from spann3r_ros.cli.main import main

STEM = "mast3r_tiny"


@pytest.fixture
def copied(golden: Path, tmp_path: Path) -> Path:
    for path in golden.glob(f"{STEM}_*"):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def change(folder: Path, file: str, name: str) -> None:
    tensors = load_file(folder / file)
    tensor = tensors[name].clone()
    tensor.view(-1)[1] += 1 if not tensor.is_floating_point() else 0.05 * tensor.abs().max()
    save_file({**tensors, name: tensor}, folder / file)


def test_every_tensor_and_every_match_equals_the_recording(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", str(golden / f"{STEM}_config.json"), "--tolerance", "5e-5"]) == 0
    output = capsys.readouterr().out
    kinds = {line.split("  ")[0] for line in output.splitlines()}
    assert {
        "pts3d_12",
        "desc_21",
        "desc_conf_11",
        "dec2_block",
        "head1_mlp_raw",
        "matches dot",
        "matches nonsym",
    } <= kinds
    assert "not compared" not in output


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("case", "landscape/dec2_block05"),
        ("case", "mixed/desc_21"),
        ("case", "mixed/pts3d_11"),
        ("trunk_weights", "dec_blocks2.5.mlp.fc1.weight"),
        ("head2_weights", "downstream_head2.head_local_features.fc2.bias"),
        ("matching", "dot_S4/xy2"),
        ("matching", "dot_S4/kept_border3"),
        ("matching", "dot_S4_basin/basin"),
        ("matching", "nonsym_S4_tol5/xy1"),
        ("matching", "symmetric_S4/conf"),
    ],
)
def test_a_change_is_noticed(file: str, name: str, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name.endswith("kept_border3"):
        tensors = load_file(copied / f"{STEM}_{file}.safetensors")
        save_file({**tensors, name: ~tensors[name]}, copied / f"{STEM}_{file}.safetensors")
    else:
        change(copied, f"{STEM}_{file}.safetensors", name)
    assert main(["parity", str(copied / f"{STEM}_config.json")]) == 1
    assert capsys.readouterr().out
