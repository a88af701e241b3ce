"""The door of the simulated network: recordings that hold the truth, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spann3r_ros.cli.main import main
from spann3r_ros.config import WEIGHTS_NOTES, Config, from_mapping, to_mapping
from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.files.ply import read_ply
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.recordings.layouts import open_sequence
from spann3r_ros.runs.chosen_model import groups_for, reconstruction_for
from spann3r_ros.synthetic.recording import Recording
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories


def configured(**values: object) -> Config:
    named = {"model": "simulated", **{name.replace("__", "."): value for name, value in values.items()}}
    return from_mapping(Config, named, groups_for(named))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "walk"
    for _ in Recording(Scene.apartment(), 30, width=64, height=48, depth="32FC1").write(path):
        pass
    return path


@pytest.fixture(scope="module")
def walk() -> RenderedWalk:
    scene = Scene.apartment()
    return RenderedWalk(scene, Trajectories(scene).walk(EVALUATION_SEED, 40), 32, 24)


@pytest.mark.parametrize("settings", [{"submap__frames": 16}, {"simulated__window": 16}])
def test_its_submaps_are_joined_as_those_of_networks(walk: RenderedWalk, settings: dict[str, int]) -> None:
    run = reconstruction_for(walk, configured(**settings))
    for frame in walk.frames():
        run.process(frame)
    run.flush()
    assert [submap.id for submap in run.map.submaps] == [0, 1, 2, 3][: len(run.map.submaps)]
    assert len(run.map.submaps) >= 3 and len(run.trajectory) == 40 and not run.metric
    assert run.model.name == "simulated" and run.model.weights.startswith("simulated: no network")
    assert "joined" in run.map.reason


def test_a_bag_is_reconstructed_and_says_that_it_was_simulated(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    options = ["--set", "model=simulated", "--set", "simulated.seed=3", "--set", "submap.frames=12"]
    assert main(["reconstruct", str(bag), "-o", str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert f"simulated network: {WEIGHTS_NOTES['simulated network']}" in printed
    record = json.loads((out / "run.json").read_text())
    assert record["parameters"]["model"] == "simulated" and record["parameters"]["simulated.seed"] == 3
    assert record["weights"]["description"].startswith("simulated: no network") and record["weights"]["sha256"] is None
    assert len(read_ply(out / "map.ply")) > 1000


def test_a_report_says_that_it_was_simulated(bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    assert main(["evaluate", str(bag), "-o", str(out), "--no-plots", "--set", "model=simulated"]) == 0
    content = json.loads((out / "report.json").read_text())
    assert content["runs"][0]["run"]["weights"]["description"].startswith("simulated: no network")
    assert content["runs"][0]["trajectory"]["sim3"]["ate_over_path"] < 0.02
    assert "simulated: no network" in (out / "report.html").read_text()


def test_a_suite_of_recordings_takes_it_too(tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "sources: [{name: walk, walk: {scene: apartment, frames: 8, seed: 1000001, width: 64, height: 48}}]\n"
        "configurations: {drift: {model: simulated, simulated.scale_drift: 0.1}, random: {checkpoint: random}}\n"
    )
    assert main(["evaluate", "--suite", str(suite), "-o", str(tmp_path / "out"), "--no-plots"]) == 0
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    descriptions = [run["run"]["weights"]["description"] for run in content["runs"]]
    assert [text.startswith("simulated") for text in descriptions] == [True, False]
    assert not any(name.startswith("simulated.") for name in content["runs"][1]["run"]["parameters"])


def test_without_truth_it_is_refused(tmp_path: Path, walk: RenderedWalk) -> None:
    images = tmp_path / "images"
    images.mkdir()
    import cv2

    for number in range(3):
        cv2.imwrite(str(images / f"{number}.png"), np.full((32, 48, 3), 90, np.uint8))
    with pytest.raises(DataError, match="simulated network") as refused:
        reconstruction_for(open_sequence(images), configured())
    assert "make_bag" in refused.value.next_step
    with pytest.raises(ConfigError, match="reconstruct"):
        Reconstruction.from_config(configured())
    with pytest.raises(ConfigError, match="checkpoint"):
        reconstruction_for(walk, configured(checkpoint="x.safetensors"))
    with pytest.raises(ConfigError, match="overlap"):
        reconstruction_for(walk, configured(simulated__window=4, simulated__overlap=4))


def test_only_who_asks_for_it_has_its_parameters() -> None:
    assert not [name for name in to_mapping(from_mapping(Config, {}, groups_for({}))) if "simulated" in name]
    assert to_mapping(configured())["simulated.drift_frames"] == 100
