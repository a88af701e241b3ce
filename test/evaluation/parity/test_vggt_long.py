"""VGGT-Long's recordings: what the replay notices."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spann3r_ros.cli.main import main


@pytest.fixture
def recorded(golden: Path, tmp_path: Path) -> Path:
    for path in golden.glob("vggt_long_tiny_*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "vggt_long_tiny_config.json"


def only(config: Path, *names: str) -> None:
    """Leave the other cases out of the configuration, so that only these are replayed."""
    content = json.loads(config.read_text())
    content["cases"] = [case for case in content["cases"] if case["name"] in names]
    assert len(content["cases"]) == len(names)
    config.write_text(json.dumps(content))


def change(config: Path, name: str, action: Callable[[torch.Tensor], torch.Tensor]) -> None:
    path = config.with_name("vggt_long_tiny_case.safetensors")
    tensors = load_file(path)
    save_file({**tensors, name: action(tensors[name]).contiguous()}, path)


def test_every_part_is_equal(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", str(recorded)]) == 0
    out = capsys.readouterr().out
    for case in json.loads(recorded.read_text())["cases"]:
        assert f"vggt_long_tiny {case['name']} " in out
    assert "not compared" not in out


@pytest.mark.parametrize(
    "name",
    [
        "align_outliers/numpy64.trace_translation",
        "align_se3/numba.rotation",
        "graph_ring/out64_translation",
        "graph_reverse/first.jacobian_j",
        "graph_two_loops/abs_after",
        "pipeline/loop.scale",
        "pipeline/camera_poses",
        "pipeline_no_loop/last_chunk_aligned_points",
    ],
)
def test_a_changed_recording_is_noticed(name: str, recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only(recorded, name.split("/")[0])
    change(recorded, name, lambda tensor: tensor * (1 + 1e-2 * (tensor == tensor.max())))
    # Not at all a rotation any more is refused, too.
    assert main(["parity", str(recorded)]) == 1
    assert f"decision differs: {name}: error" in capsys.readouterr().out


def test_changed_descriptors_give_other_loops(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only(recorded, "retrieval")
    change(recorded, "retrieval/descriptors", lambda tensor: tensor.roll(1, 0))
    assert main(["parity", str(recorded)]) == 1
    assert "decision differs: retrieval/pairs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (lambda config: config["tables"]["chunk_plan"][4]["chunks"].pop(), "chunk_plan of 91"),
        (lambda config: config["tables"]["frame_range"][2]["range"].reverse(), "frame_range of 50"),
        (lambda config: config["tables"]["find_chunk"]["index_to_chunk"][3].reverse(), "find_chunk of 1"),
        (lambda config: config["tables"]["loop_items"]["pairs"].__delitem__(slice(0, 2)), "loop_items"),
        (lambda config: config["cases"][8]["point_files"].update({"5_pcd.ply": 7}), "pipeline: points of 5_pcd.ply"),
    ],
)
def test_a_changed_decision_is_noticed(
    edit: Callable[[Any], None], place: str, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads(recorded.read_text())
    edit(config)
    recorded.write_text(json.dumps(config))
    only(recorded, *(case["name"] for case in config["cases"] if case["name"] == place.split(":")[0]))
    assert main(["parity", str(recorded)]) == 1
    assert f"decision differs: {place}" in capsys.readouterr().out
