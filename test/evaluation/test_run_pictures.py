"""The pictures of a run whose truth is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from made_up_run import CAMERA, MadeUpSequence, true_depth, true_pose, truth, write_run
from PIL import Image

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.pointmap_errors import true_from_run
from spann3r_ros.evaluation.run_pictures import confident_cloud, write_run_pictures
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.runs.folder import RunFolder

GAP = 10_000_000


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = write_run(tmp_path / "run", scale=0.5)
    record = made.record()
    record.parameters["map.min_confidence"] = 0.6
    record.write(tmp_path / "run" / "run.json")
    return made


def test_the_world_of_a_run_is_brought_onto_the_truth(run: RunFolder) -> None:
    pointmaps = list(run.pointmaps())
    moved = true_from_run(pointmaps, truth(), GAP).apply(pointmaps[3].points)
    known = np.isfinite(true_depth(3))
    expected = true_pose(3).apply(backproject(true_depth(3), CAMERA))
    np.testing.assert_allclose(moved[known], expected[known], atol=1e-4)


def test_a_run_is_drawn_beside_the_truth(run: RunFolder) -> None:
    write_run_pictures(run, MadeUpSequence(truth()), "walk", "A made-up walk", GAP)
    picture = cv2.imread(str(run.path / "walk.png"))
    assert picture is not None and picture.std() > 5
    with Image.open(run.path / "walk.gif") as growing:
        assert growing.n_frames == 2  # every fourth of eight frames
    assert "<title>A made-up walk</title>" in (run.path / "view.html").read_text(encoding="utf-8")
    # The confidence of frame n is 0.5 + 0.05 n.
    assert [len(confident_cloud(pointmap, 0.6)) > 0 for pointmap in run.pointmaps()] == [False] * 2 + [True] * 6


def test_without_truth_nothing_is_drawn(run: RunFolder) -> None:
    with pytest.raises(DataError, match="no true poses"):
        write_run_pictures(run, MadeUpSequence(None), "walk", "A made-up walk", GAP)
    assert not (run.path / "walk.png").exists()
