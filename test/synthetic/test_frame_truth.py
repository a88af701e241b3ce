"""The truth of a frame, brought together from what a recording holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from miniature_datasets import plain

from spann3r_ros.errors import DataError, FrameError
from spann3r_ros.recordings.layouts import open_sequence
from spann3r_ros.synthetic.frame_truth import RecordedTruth
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories


@pytest.fixture(scope="module")
def walk() -> RenderedWalk:
    scene = Scene.apartment()
    return RenderedWalk(scene, Trajectories(scene).walk(EVALUATION_SEED, 6), 64, 48)


@pytest.mark.parametrize("most_width", [64, 40, 16])
def test_a_thinned_grid_keeps_the_true_points(walk: RenderedWalk, most_width: int) -> None:
    truth = RecordedTruth(walk, most_width)
    frame = list(walk.frames())[3]
    view, stride = truth.of(frame), -(-64 // most_width)
    assert view.points.shape[:2] == truth.grid_size(frame) == (view.intrinsics.height, view.intrinsics.width)
    np.testing.assert_allclose(view.in_world(), walk.rendering(3).points[::stride, ::stride], atol=1e-4)
    np.testing.assert_array_equal(view.colors, frame.image[::stride, ::stride])


def test_a_view_shares_what_it_sees_and_not_what_is_behind_it(walk: RenderedWalk) -> None:
    truth = RecordedTruth(walk, 64)
    views = [truth.of(frame) for frame in walk.frames()]
    points = views[0].in_world().reshape(-1, 3)
    assert views[0].shares(points) == pytest.approx(1.0)
    assert views[1].shares(points) > 0.6
    behind = views[0].world_from_camera.apply(2.0 * views[0].points.reshape(-1, 3))
    assert views[0].shares(behind) == 0.0


def test_frames_without_truth_are_refused(walk: RenderedWalk) -> None:
    truth, frame = RecordedTruth(walk, 64), next(iter(walk.frames()))
    with pytest.raises(FrameError, match="no true pose"):
        truth.of(dataclasses.replace(frame, stamp=frame.stamp - 10**9))
    small = dataclasses.replace(frame, image=frame.image[::2, ::2], intrinsics=None)
    with pytest.raises(FrameError, match="true depth of a frame"):
        truth.of(small)


def test_recordings_without_poses_or_depth_are_refused(tmp_path: Path) -> None:
    plain(tmp_path)
    (sequence,) = [open_sequence(path) for path in tmp_path.iterdir() if path.is_dir()][:1]
    truth = sequence.ground_truth()
    assert truth is not None

    class Without:
        path, unit = sequence.path, "m"

        def __init__(self, found: object) -> None:
            self.ground_truth = lambda: found

    blind = dataclasses.replace(truth, depth_stamps=np.empty(0, np.int64))
    with pytest.raises(DataError, match="poses, but no depth"):
        RecordedTruth(Without(blind), 64)  # type: ignore[arg-type]
    for nothing in (None, dataclasses.replace(truth, trajectory=None)):
        with pytest.raises(DataError, match="no true poses"):
            RecordedTruth(Without(nothing), 64)  # type: ignore[arg-type]
