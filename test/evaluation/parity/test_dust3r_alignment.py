"""Global alignment equals its recording at every stage, and what differs is noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from spann3r_ros.cli.main import main

STEM = "dust3r_alignment_tiny"


@pytest.fixture
def copied(golden: Path, tmp_path: Path) -> Path:
    for path in golden.glob(f"{STEM}_*"):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def test_every_stage_equals_the_recording(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", str(golden / f"{STEM}_config.json"), "--tolerance", "1e-5"]) == 0
    output = capsys.readouterr().out
    kinds = {line.split("  ")[0] for line in output.splitlines()}
    assert {
        "graph",
        "mst/edges",
        "init/depth",
        "grad_iter0/pw_poses",
        "loss_curve",
        "final/pts3d",
        "clean_conf",
    } <= kinds
    assert "not compared" not in output


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("case", "mixed4/mst/focals"),
        ("case", "mixed4/grad_iter0/im_depthmaps"),
        ("case", "modular4/loss_curve"),
        ("case", "modular4/final/poses_c2w"),
        ("case", "known_poses4/init/param.pw_poses"),
        ("case", "mixed4/clean_conf.2"),
        ("case", "pair2_a/depth.1"),
        ("predictions", "known_poses4/pred/pts3d_i.1_0"),
    ],
)
def test_a_change_is_noticed(file: str, name: str, copied: Path) -> None:
    path = copied / f"{STEM}_{file}.safetensors"
    tensors = load_file(path)
    changed = tensors[name].clone()
    if "clean_conf" in name:
        changed.zero_()
    else:
        changed.view(-1)[2 if changed.numel() > 2 else 0] += 0.1 * changed.abs().max()
    save_file({**tensors, name: changed}, path)
    assert main(["parity", str(copied / f"{STEM}_config.json")]) == 1


def test_another_tree_or_graph_is_noticed(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied / f"{STEM}_config.json"
    config = json.loads(path.read_text())
    config["pair_graphs"]["graphs"][0]["pairs"].reverse()  # the same set: nothing is wrong
    path.write_text(json.dumps(config))
    assert main(["parity", str(path)]) == 0
    config["pair_graphs"]["graphs"][0]["pairs"][0] = [1, 1]
    config["cases"][0]["mst_edges"].reverse()
    path.write_text(json.dumps(config))
    assert main(["parity", str(path)]) == 1
    output = capsys.readouterr().out
    assert "decision differs: graph complete of 2" in output and "mixed4/mst/edges" in output


def test_an_unknown_option_is_refused(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied / f"{STEM}_config.json"
    config = json.loads(path.read_text())
    config["cases"][0]["optimizer_kw"]["verbose"] = True
    path.write_text(json.dumps(config))
    assert main(["parity", str(path)]) == 2
    assert "options of the recorded alignment mixed4: got ['verbose']" in capsys.readouterr().err
