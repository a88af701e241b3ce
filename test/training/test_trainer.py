"""Training learns, and continues exactly where it was interrupted."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import SlantedWalls, recipe

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import read_checkpoint
from spann3r_ros.training.data import Clip
from spann3r_ros.training.export import export
from spann3r_ros.training.preparation import new_network
from spann3r_ros.training.recipe import Optimizer, Recipe
from spann3r_ros.training.schedule import Stage
from spann3r_ros.training.trainer import Trainer

CLIPS = Stage("clips", 4, 2, 3, truth=(1, 0))
WALKS = Stage("walks", 8, 2, 3, truth=(0.5, 0.5), blend=(0, 1), walks=2, walk_frames=7, walk_every=1, singles=3)


class OneClip(SlantedWalls):
    """The same four frames again and again."""

    def clip(self, _rng: np.random.Generator, frames: int, gap: float) -> Clip:
        return super().clip(np.random.default_rng(0), frames, gap)


def trained(folder: Path, settings: Recipe, until: int | None = None, resume: bool = False) -> Trainer:
    trainer = Trainer(new_network(settings), settings, SlantedWalls(), folder)
    if resume:
        trainer.resume()
    trainer.run(until)
    return trainer


def _exported(folder: Path) -> Path:
    export(folder / "checkpoint.pt", folder / "weights.safetensors")
    return folder / "weights.safetensors"


def losses(folder: Path) -> list[str]:
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        return [row["loss"] for row in csv.DictReader(file)]


def test_forty_steps_on_four_frames_overfit(tmp_path: Path) -> None:
    optimizer = Optimizer(learning_rate=4e-3, muon_learning_rate=0.04, weight_decay=0.0)
    settings = recipe(Stage("clips", 40, 1, 4), optimizer=optimizer, dropout=0.0)
    seen: list[float] = []
    trainer = Trainer(new_network(settings), settings, OneClip(), tmp_path)
    trainer.run(
        progress=lambda _plan, terms, _seconds: seen.append(float((terms.left.mean() + terms.right.mean()) / 2))
    )
    assert len(seen) == 40
    # The best constant pointmap is wrong by 0.37.
    assert seen[-1] < 0.2, seen


@pytest.mark.parametrize("accumulate", [1, 2])
def test_resumed_training_equals_an_uninterrupted_one(tmp_path: Path, accumulate: int) -> None:
    optimizer = Optimizer(learning_rate=3e-3, muon_learning_rate=3e-3, accumulate=accumulate)
    # 12 tokens are two frames: the memory of the walks is cut back on the way.
    settings = recipe(CLIPS, WALKS, optimizer=optimizer, long_term_tokens=30)
    whole = trained(tmp_path / "whole", settings)
    trained(tmp_path / "parts", settings, until=7)
    parts = trained(tmp_path / "parts", settings, resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 12
    for name, tensor in whole.average.items():
        assert torch.equal(tensor, parts.average[name]), name


def test_the_memory_is_asked_where_the_first_camera_stood(tmp_path: Path) -> None:
    settings = recipe(Stage("clips", 20, 2, 4), optimizer=Optimizer(learning_rate=1e-2), dropout=0.0)
    trainer = Trainer(new_network(settings), settings, OneClip(), tmp_path)
    trainer.run()
    with (tmp_path / "log.csv").open(newline="", encoding="utf-8") as file:
        origins = [float(row["origin"]) for row in csv.DictReader(file)]
    assert origins[-1] < 0.5 * origins[0], origins
    assert read_checkpoint(_exported(tmp_path)).state.keys() == trainer.network.state_dict().keys()


def test_memory_of_walks_is_carried_pruned_and_dropped_at_the_end(tmp_path: Path) -> None:
    settings = recipe(Stage("walks", 8, 2, 3, walks=1, walk_frames=17, walk_every=1), long_term_tokens=36)
    trainer = Trainer(new_network(settings), settings, SlantedWalls(), tmp_path)
    trainer.run(until=7)
    spatial = trainer.histories[0].spatial
    assert spatial.inserted == 14
    assert spatial.prunes >= 1
    assert not spatial.keys.requires_grad
    assert float(spatial.attention[:, : spatial.tokens].sum()) > 0
    trainer.run()
    assert trainer.histories == {}


def test_error_of_the_source_reaches_the_caller(tmp_path: Path) -> None:
    class Broken(SlantedWalls):
        def clip(self, _rng: np.random.Generator, _frames: int, _gap: float) -> Clip:
            raise RuntimeError("no camera motion")

    settings = recipe(CLIPS)
    with pytest.raises(RuntimeError, match="no camera motion"):
        Trainer(new_network(settings), settings, Broken(), tmp_path).run()


def test_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    settings = recipe(CLIPS)
    trainer = Trainer(new_network(settings), settings, SlantedWalls(), tmp_path)
    with pytest.raises(CheckpointError, match="checkpoint"):
        trainer.resume()
    torch.save({"network": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="this recipe"):
        trainer.resume()


def test_export_is_half_precision_with_its_record(tmp_path: Path) -> None:
    settings = recipe(CLIPS)
    trainer = trained(tmp_path / "run", settings)
    record = export(tmp_path / "run" / "checkpoint.pt", tmp_path / "weights.safetensors", {"clips": 0.5})
    checkpoint = read_checkpoint(tmp_path / "weights.safetensors")
    assert checkpoint.architecture == settings.architecture
    assert {tensor.dtype for tensor in checkpoint.state.values()} == {torch.float16}
    assert set(checkpoint.state) == set(trainer.network.state_dict())
    written = json.loads(checkpoint.metadata["training"])
    assert written == record
    assert written["steps"] == 4 and written["seed"] == settings.seed and written["figures"] == {"clips": 0.5}
