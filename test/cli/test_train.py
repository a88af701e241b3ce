"""Training from the command line: the official layout is fine-tuned on a bag, interrupted, continued and exported."""

from __future__ import annotations

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tiny_models import OFFICIAL_TRUNK_IN_SMALL, tiny_architecture

from spann3r_ros.cli.main import main
from spann3r_ros.models.checkpoint.reading import read_checkpoint, write_checkpoint
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.network import Spann3rNetwork

ROOT = Path(__file__).parents[2]

# The published network in small, with its six value blocks.
STAND_IN = Spann3rArchitecture(dataclasses.replace(OFFICIAL_TRUNK_IN_SMALL, image_size=(224, 224)), value_heads=1)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Weights as the published file holds them: a pickle of ``model``, with a tensor that nothing uses."""
    torch.manual_seed(0)
    state = {**Spann3rNetwork(STAND_IN).state_dict(), "dust3r.mask_token": torch.zeros(1, 1, 64)}
    torch.save({"model": state, "epoch": 3}, tmp_path / "spann3r.pth")
    return tmp_path / "spann3r.pth"


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("numba", reason="the renderer needs numba")
    size = ["--width", "64", "--height", "48", "--depth", "32FC1"]
    path = tmp_path_factory.mktemp("bags") / "bag"
    assert main(["make_bag", str(path), "--frames", "4", "--rate", "2", *size]) == 0
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Weights of a network that costs next to nothing, for what does not ask about the official layout."""
    torch.manual_seed(0)
    network = Spann3rNetwork(tiny_architecture(encoder_depth=1, decoder_depth=2, image_size=(32, 48)))
    write_checkpoint(tmp_path / "small.safetensors", network.state_dict(), network.architecture)
    return tmp_path / "small.safetensors"


def short_recipe(folder: Path) -> Path:
    """The recipe that ships, cut down to three steps of one clip."""
    content = yaml.safe_load((ROOT / "config" / "train" / "finetune.yaml").read_text())
    (stage,) = content["curriculum"]["stages"]
    stage.update(steps=3, batch=1, frames=3)
    content["curriculum"].update(warmup=1, decay=1)
    content["optimizer"].update(learning_rate=1e-3, accumulate=1, average=0.5)
    content["compute"]["bf16"] = False
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return folder / "recipe.yaml"


def test_official_layout_is_fine_tuned_on_a_bag(
    tmp_path: Path, official: Path, bag: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = ["train", "--config", str(short_recipe(tmp_path)), "--init", str(official), "--data", str(bag)]
    command += ["--output", str(out), "--device", "cpu"]
    assert main([*command, "--until", "2"]) == 0
    assert "step 2 of 3" in capsys.readouterr().out
    assert main(command) == 2
    assert "--resume" in capsys.readouterr().err
    tuned = tmp_path / "tuned.safetensors"
    assert main([*command, "--resume", "--export", str(tuned)]) == 0
    assert "step 3 of 3" in capsys.readouterr().out
    with (out / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert all(0 < float(row["loss"]) < 100 for row in rows)
    before, after = read_checkpoint(official), read_checkpoint(tuned)
    assert after.architecture == before.architecture == STAND_IN
    parts = ("downstream_head1.dpt", "dec_blocks2.9", "enc_blocks.0", "value_encoder.5", "attn_head_1")
    for part in parts:
        names = [name for name in after.state if part in name and name.endswith("weight")]
        assert names and all(not torch.equal(after.state[n], before.state[n].half()) for n in names), part


def test_recordings_have_no_places(tmp_path: Path, bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house = str(ROOT / "config" / "train" / "house.yaml")
    assert main(["train", "--config", house, "--data", str(bag), "--output", str(tmp_path / "run")]) == 2
    assert "stages with single images (places, clips, walks)" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_of_torchrun_train_as_one_with_the_doubled_batch(tmp_path: Path, small: Path, bag: Path) -> None:
    content = yaml.safe_load(short_recipe(tmp_path).read_text())
    content["dropout"] = 0.0  # its noise is each process's own
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, batch in (("one", 2), ("two", 1)):
        content["curriculum"]["stages"][0].update(batch=batch, steps=2)
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(yaml.safe_dump(content))
        command = ["train", "--config", str(recipe), "--init", str(small), "--data", str(bag), "--device", "cpu"]
        command += ["--output", str(tmp_path / name), "--export", str(tmp_path / f"{name}.safetensors")]
        if name == "one":
            assert main(command) == 0
            continue
        done = subprocess.run(
            [*torchrun, "-m", "spann3r_ros", *command],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("step 2 of 2, 12 frames") == 1, "the first process speaks, for all"
    rows = []
    for name in ("one", "two"):
        with (tmp_path / name / "log.csv").open(newline="", encoding="utf-8") as file:
            rows.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert len(rows[0]) == 2 and rows[1] == pytest.approx(rows[0], rel=1e-5, abs=1e-5)
    assert (tmp_path / "two.safetensors").is_file()
