"""Two real processes that torchrun starts, joined by gloo, train as one with the doubled batch does."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import train_slanted_walls

from spann3r_ros.cli.main import main
from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.training.processes import Processes, own_device, started_by_torchrun

SCRIPT = Path(train_slanted_walls.__file__)
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
NORMALIZERS = ("sequence", "upstream")


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    paths = [str(SCRIPT.parent), str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def trained(program: list[str], folder: Path, batch: int, *words: str) -> None:
    done = run([*program, str(SCRIPT), str(folder), str(batch), *words])
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings of two processes, one folder for each way to normalize the loss."""
    folder = tmp_path_factory.mktemp("two")
    trained(TWO, folder, 2, *NORMALIZERS)
    return folder


def columns(folder: Path, *names: str) -> np.ndarray:
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


def require_same_weights(one: Path, other: Path) -> None:
    states = [torch.load(folder / "checkpoint.pt", weights_only=True)["network"] for folder in (one, other)]
    for name, tensor in states[1].items():
        torch.testing.assert_close(states[0][name], tensor, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_the_doubled_batch(tmp_path: Path, two: Path) -> None:
    trained([sys.executable], tmp_path, 4, *NORMALIZERS)
    for normalizer in NORMALIZERS:
        names = ("loss", "place", "origin", "camera", "rate", "frames")
        alone, together = (columns(folder / normalizer, *names) for folder in (tmp_path, two))
        assert len(alone) == train_slanted_walls.STEPS and (alone[2:, 0] != 0).all()
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5, err_msg=normalizer)
        require_same_weights(two / normalizer, tmp_path / normalizer)


@pytest.mark.slow
def test_two_processes_go_on_from_their_checkpoint_and_one_alone_does_not(tmp_path: Path, two: Path) -> None:
    trained(TWO, tmp_path, 2, "sequence", "--until", "7")  # in the middle of walks and of an accumulated batch
    alone = run([sys.executable, str(SCRIPT), str(tmp_path), "2", "sequence", "--resume"])
    assert alone.returncode and "one of 2 processes" in alone.stderr and CheckpointError.__name__ in alone.stderr
    trained(TWO, tmp_path, 2, "sequence", "--resume")
    parts, whole = (columns(folder / "sequence", "loss") for folder in (tmp_path, two))
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)
    require_same_weights(tmp_path / "sequence", two / "sequence")


def test_one_process_needs_no_group() -> None:
    alone, values = Processes(), torch.arange(4.0)
    assert alone.mean(values) is values and alone.gathered(values) is values
    assert torch.equal(alone.mine(values), values) and alone.collected("it") == ["it"]
    assert not started_by_torchrun({}) and not started_by_torchrun({"WORLD_SIZE": "1"})
    assert own_device("cpu") == "cpu"


def test_more_processes_than_cuda_devices_and_a_relocalizer_are_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="nproc-per-node"):
        own_device("cuda")
    root = SCRIPT.parents[2]
    command = ["train", "--config", str(root / "config" / "train" / "posenet.yaml"), "--output", str(tmp_path)]
    assert main(command) != 0
    assert "relocalizer under torchrun" in capsys.readouterr().err
