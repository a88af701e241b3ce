"""The table of the model that ships: right figures for a perfect model, bad ones for a bad model."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs numba")

from tiny_models import tiny_network
from wall_network import write_wall_checkpoint

from spann3r_ros.cli.main import main
from spann3r_ros.config import Config
from spann3r_ros.evaluation.shipped_model import Extent, clip_errors, evaluate, walk_errors
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import ModelStream
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.parameters import Spann3rParameters
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.renderer import Renderer
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories


class Oracle:
    """Knows the apartment and the motion; answers with the truth, scaled, one frame late like Spann3R."""

    name, metric, weights = "oracle", True, "none"

    def __init__(self, motion: list[Sim3], scale: float) -> None:
        self.renderer, self.motion, self.scale = Renderer(Scene.apartment()), motion, scale

    def new_memory(self) -> list[Frame]:
        return []

    def step(self, frame: Frame, memory: list[Frame]) -> list[Prediction]:
        memory.append(frame)
        return [self._answer(memory[-2])] if len(memory) > 1 else []

    def flush(self, memory: list[Frame]) -> list[Prediction]:
        return [self._answer(memory[-1])]

    def _answer(self, frame: Frame) -> Prediction:
        image = preprocess(frame, (24, 32))
        assert image.intrinsics is not None
        points = self.renderer.render(self.motion[frame.index], image.intrinsics).points
        points = self.motion[0].inverse().apply(points) * np.float32(self.scale)
        return Prediction(frame, points, np.ones((24, 32), np.float32), image.colors, intrinsics=image.intrinsics)


def test_true_points_have_no_error() -> None:
    motion = Trajectories(Scene.apartment()).walk(EVALUATION_SEED, 8, style="handheld")
    (error,) = walk_errors(ModelStream(Oracle(motion, 1.0)), Scene.apartment(), 1, 8).errors  # type: ignore[arg-type]
    assert error.raw < 1e-5 and error.aligned < 1e-5 and error.depth < 1e-5
    assert error.poses == 1.0 and error.ate < 1e-3


def test_wrong_scale_is_an_error_that_a_similarity_removes() -> None:
    scene = Scene.apartment()
    motion = Trajectories(scene).sample_clip(np.random.default_rng(EVALUATION_SEED + 3), 5)
    (error,) = clip_errors(ModelStream(Oracle(motion, 1.2)), scene, 1, first=3).errors  # type: ignore[arg-type]
    assert error.raw == pytest.approx(0.2, abs=1e-4) and error.depth == pytest.approx(0.2, abs=1e-4)
    assert error.aligned < 1e-5


def test_table_of_an_untrained_network_is_complete_and_bad() -> None:
    network = tiny_network()
    seen = []

    def make(config: Config) -> ModelStream:
        seen.append(copy.deepcopy(config))
        return ModelStream(Spann3r(network, config, "test"))

    report = evaluate(make, Config(), Extent(clips=1, walks=1, frames=4))
    assert report.clips.median("raw") > 0.2 and report.walks.median("aligned") > 0.1
    assert [config.of(Spann3rParameters).long_term_tokens for config in seen] == [4000, 0, 4000]
    rows = report.rows()
    assert len(rows) == 18 and all(row.count("|") == 4 for row in rows)


def test_table_is_a_suite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wall_checkpoint(tmp_path / "wall.safetensors")
    (tmp_path / "small.yaml").write_text("kind: embedded\nclips: 1\nwalks: 1\nframes: 3\n")
    command = ["evaluate", "--suite", str(tmp_path / "small.yaml"), "-o", str(tmp_path / "out")]
    assert main([*command, "--set", f"checkpoint={tmp_path / 'wall.safetensors'}"]) == 0
    printed = capsys.readouterr().out
    assert "apartment, 1 unseen walks" in printed
    assert (tmp_path / "out" / "table.md").read_text() in printed
    table = "".join(line for line in printed.splitlines(True) if "time per frame" not in line)
    command = ["embedded", "--clips", "1", "--walks", "1", "--frames", "3", "-o", str(tmp_path / "again")]
    assert main([*command, "--set", f"checkpoint={tmp_path / 'wall.safetensors'}"]) == 0
    again = capsys.readouterr().out.replace("again", "out")
    assert table == "".join(line for line in again.splitlines(True) if "time per frame" not in line)
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert len(figures["walks"]["errors"]) == 1 and figures["walks"]["errors"][0]["aligned"] > 0.05


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: embedded\nclips: 0\n", "clips, walks and frames"),
        ("kind: embedded\nclips: many\n", "whole numbers"),
        ("kind: embedded\nrooms: 3\n", "unknown entry"),
        ("kind: other\n", "kind of the suite: got other; expected embedded"),
        ("embedded: {clips: 1}\n", "expected kind: embedded, and clips, walks and frames"),
    ],
)
def test_table_of_a_wrong_extent_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "wrong.yaml").write_text(text)
    assert main(["evaluate", "--suite", str(tmp_path / "wrong.yaml")]) == 2
    assert message in capsys.readouterr().err
