import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_run import FRAMES, STEP, true_pose, write_run
from miniature_datasets import plain
from wall_network import write_wall_checkpoint

from spann3r_ros.cli.main import main
from spann3r_ros.files.tum import read_camera_path, write_trajectory
from spann3r_ros.models import registry
from spann3r_ros.models.checkpoint.reading import write_checkpoint
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import StampedPose


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    poses = [StampedPose(index, index * STEP, "", true_pose(index)) for index in range(FRAMES)]
    write_trajectory(tmp_path / "truth.txt", poses)
    return tmp_path / "truth.txt"


def test_runs_side_by_side_against_a_reference(
    tmp_path: Path, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", name="good")
    write_run(tmp_path / "b", noise=0.1, name="worse")
    out = tmp_path / "out"
    arguments = ["evaluate", str(tmp_path / "a"), str(tmp_path / "b"), "--reference", str(reference), "-o", str(out)]
    assert main([*arguments, "--no-plots", "--title", "Both"]) == 0
    printed = capsys.readouterr().out
    assert "good" in printed and "worse" in printed and f"report: {out / 'report.html'}" in printed
    runs = json.loads((out / "report.json").read_text())["runs"]
    assert [run["name"] for run in runs] == ["good", "worse"]
    assert all(run["trajectory"]["sim3"]["ate"]["rmse"] < 1e-9 for run in runs)
    assert "Both" in (out / "report.html").read_text()


@pytest.mark.parametrize("name", ["vggt", "streamvggt"])
def test_a_network_with_poses_of_its_own_is_reconstructed_and_evaluated(name: str, tmp_path: Path) -> None:
    row = registry.family(name)
    torch.manual_seed(0)
    network = row.network(row.tiny)
    write_checkpoint(tmp_path / "random.safetensors", network, row.tiny)
    values = {
        "model": name,
        "checkpoint": tmp_path / "random.safetensors",
        "device": "cpu",
        "tracking.enabled": "false",
    }
    settings = [text for key, value in values.items() for text in ("--set", f"{key}={value}")]
    out = tmp_path / "out"
    assert main(["evaluate", str(plain(tmp_path)), "-o", str(out), "--no-plots", *settings]) == 0
    (run,) = json.loads((out / "report.json").read_text())["runs"]
    assert run["quality"]["processed"] == 3 and np.isfinite(run["geometry"]["chamfer"])
    assert len(read_camera_path(out / "mine" / "trajectory.txt")) == 3, "each frame has the network's pose"


def test_a_recording_is_reconstructed_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = plain(tmp_path)
    write_wall_checkpoint(tmp_path / "wall.safetensors")
    out = tmp_path / "out"
    settings = [
        "--set",
        f"checkpoint={tmp_path / 'wall.safetensors'}",
        "--set",
        "device=cpu",
        "--set",
        "tracking.enabled=false",
    ]
    assert main(["evaluate", str(source), "-o", str(out), "--no-plots", *settings]) == 0
    (run,) = json.loads((out / "report.json").read_text())["runs"]
    assert run["quality"]["processed"] == 3 and run["truth"] == "folder"
    assert run["geometry"]["true_points"] > 1000 and run["geometry"]["chamfer"] > 0.01  # a wall is not this scene
    # Evaluated again from its folder, by another protocol, against the source that it names.
    capsys.readouterr()
    assert main(["evaluate", str(out / "mine"), "-o", str(out / "again"), "--no-plots", "--protocol", "spann3r"]) == 0
    assert "median" in capsys.readouterr().out
    (again,) = json.loads((out / "again" / "report.json").read_text())["runs"]
    assert again["protocol"]["name"] == "spann3r" and again["geometry"]["chamfer"] != run["geometry"]["chamfer"]
    assert again["trajectory"] == run["trajectory"]


def test_trajectory_files(tmp_path: Path, reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = read_camera_path(reference).transformed(Sim3(0.5))
    poses = [StampedPose(index, int(path.stamps[index]), "", path.pose(index)) for index in range(FRAMES)]
    write_trajectory(tmp_path / "estimate.txt", poses)
    out = tmp_path / "out"
    arguments = ["evaluate", str(tmp_path / "estimate.txt"), "-o", str(out), "--no-plots"]
    assert main([*arguments, "--reference", str(reference)]) == 0
    (run,) = json.loads((out / "report.json").read_text())["runs"]
    assert run["trajectory"]["sim3"]["scale"] == pytest.approx(2.0)
    assert run["trajectory"]["sim3"]["ate"]["maximum"] < 1e-9 < run["trajectory"]["se3"]["ate"]["rmse"]
    assert main(arguments) == 2
    assert "--reference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("1.0 nan 0 0 0 0 0 1\n", "line 1"),
        ("9000.0 0 0 0 0 0 0 1\n9001.0 1 0 0 0 0 0 1\n9002.0 1 1 0 0 0 0 1\n", "share no time"),
        ("0.1 0 0 0 0 0 0 1\n0.0 0 0 0 0 0 0 1\n", "do not increase"),
    ],
)
def test_useless_trajectories_are_refused(
    tmp_path: Path, reference: Path, damage: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "estimate.txt").write_text(damage)
    arguments = ["evaluate", str(tmp_path / "estimate.txt"), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--reference", str(reference)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.fault("recordings", case="17")
@pytest.mark.parametrize(
    "options",
    [["--every", "2"], ["--topic", "/camera"], ["--set", "device=cpu"], ["--workers", "2"], ["--layout", "images"]],
)
def test_options_that_would_be_ignored_are_refused(
    tmp_path: Path, reference: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a")
    out = tmp_path / "out"
    arguments = ["evaluate", str(tmp_path / "a"), str(reference), "--reference", str(reference), "-o", str(out)]
    assert main([*arguments, *options]) == 2
    assert options[0] in capsys.readouterr().err and not out.exists()


@pytest.mark.fault("recordings", case="13")
def test_a_recording_with_missing_frames_is_incomplete(tmp_path: Path) -> None:
    source = plain(tmp_path)
    (sorted((source / "images").iterdir())[1]).write_bytes(b"damaged")
    write_wall_checkpoint(tmp_path / "wall.safetensors")
    values = [f"checkpoint={tmp_path / 'wall.safetensors'}", "device=cpu", "tracking.enabled=false"]
    settings = [part for value in values for part in ("--set", value)]
    assert main(["evaluate", str(source), "-o", str(tmp_path / "out"), "--no-plots", *settings]) == 3


def test_nothing_to_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "-o", str(tmp_path / "out")]) == 2
    assert "nothing to evaluate" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "nothing"), "-o", str(tmp_path / "out")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_odometry_of_a_recording_is_used_when_asked_for(tmp_path: Path) -> None:
    bag, out = tmp_path / "bag", tmp_path / "out"
    size = ["--frames", "40", "--rate", "2", "--width", "64", "--height", "48", "--depth", "32FC1"]
    assert main(["make_bag", str(bag), *size]) == 0
    command = ["evaluate", str(bag), "-o", str(out), "--no-plots", "--max-points", "1000", "--use-odometry"]
    assert main([*command, "--set", "model=simulated"]) == 0
    (run,) = json.loads((out / "report.json").read_text())["runs"]
    assert run["run"]["scale_source"] == "odometry"
    assert run["trajectory"]["sim3"]["scale"] == pytest.approx(1.0, abs=0.03)
    assert run["pointmaps"]["raw_mean"] < 0.06, "those of the frames before the scale was found, too"


def test_odometry_with_a_finished_run_or_a_suite_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a")
    assert main(["evaluate", str(tmp_path / "a"), "--use-odometry", "-o", str(tmp_path / "out")]) == 2
    assert "options of recordings, of which none is given: got --use-odometry" in capsys.readouterr().err
