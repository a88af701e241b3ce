"""Two real processes, joined by gloo as torchrun joins them, train as one with the doubled batch does.

torchrun itself starts them in ``test/cli/test_train.py``.
"""

from __future__ import annotations

import csv
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import train_slanted_walls
from node_process import FORKS, run

from spann3r_ros.cli.main import main
from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.training.processes import Processes, own_device, started_by_torchrun

NORMALIZERS = ("sequence", "upstream")


def train(folder: Path, count: int, batch: int, *words: str) -> list[tuple[int, str]]:
    """Exit status and output of each of ``count`` processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [train_slanted_walls.__file__, str(folder), str(batch), *words]
    started = []
    for rank in range(count):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if count > 1:  # what torchrun tells
            environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        log = folder / f"{rank}.log"
        process = FORKS.Process(target=run, args=(train_slanted_walls.__name__, command, environment, log), daemon=True)
        process.start()
        started.append((process, log))
    done = []
    for process, log in started:
        process.join(240)
        assert process.exitcode is not None, f"it runs four minutes later:\n{log.read_text()}"
        done.append((process.exitcode, log.read_text()))
    return done


def trained(folder: Path, count: int, batch: int, *words: str) -> None:
    for status, printed in train(folder, count, batch, *words):
        assert status == 0, printed[-3000:]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings of two processes, one folder for each way to normalize the loss."""
    folder = tmp_path_factory.mktemp("two")
    trained(folder, 2, 2, *NORMALIZERS)
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
    trained(tmp_path, 1, 4, *NORMALIZERS)
    for normalizer in NORMALIZERS:
        names = ("loss", "place", "origin", "camera", "rate", "frames")
        alone, together = (columns(folder / normalizer, *names) for folder in (tmp_path, two))
        assert len(alone) == train_slanted_walls.STEPS and (alone[2:, 0] != 0).all()
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5, err_msg=normalizer)
        require_same_weights(two / normalizer, tmp_path / normalizer)


@pytest.mark.slow
def test_two_processes_go_on_from_their_checkpoint_and_one_alone_does_not(tmp_path: Path, two: Path) -> None:
    trained(tmp_path, 2, 2, "sequence", "--until", "7")  # in the middle of walks and of an accumulated batch
    ((status, printed),) = train(tmp_path, 1, 2, "sequence", "--resume")
    assert status and "one of 2 processes" in printed and CheckpointError.__name__ in printed
    trained(tmp_path, 2, 2, "sequence", "--resume")
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
    root = Path(__file__).parents[2]
    command = ["train", "--config", str(root / "config" / "train" / "posenet.yaml"), "--output", str(tmp_path)]
    assert main(command) != 0
    assert "relocalizer under torchrun" in capsys.readouterr().err
