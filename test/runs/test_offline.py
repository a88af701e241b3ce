"""What a run writes frame by frame lies where the map lies in the end."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs numba")

from spann3r_ros.config import Config, from_mapping
from spann3r_ros.geometry.camera import depth_from_pointmap
from spann3r_ros.runs.chosen_model import groups_for, reconstruction_for
from spann3r_ros.runs.folder import OptionalFiles
from spann3r_ros.runs.offline import OfflineRun
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories

FRAMES = 40


def test_what_was_written_before_the_scale_was_found_is_in_meters_too(tmp_path: Path) -> None:
    scene = Scene.apartment()
    poses = Trajectories(scene).walk(EVALUATION_SEED, FRAMES)
    walk = RenderedWalk(scene, poses, priors=poses)
    values = {"model": "simulated"}
    reconstruction = reconstruction_for(walk, from_mapping(Config, values, groups_for(values)))
    run = OfflineRun(walk, reconstruction, tmp_path / "run", OptionalFiles(depth=True, pointmaps=True, transforms=True))
    record = run.run()
    scales = [scale for scale in record.frames.scale if scale is not None]
    assert record.scale_source == "odometry" and len(scales) < FRAMES, "some frames came before the scale"
    path = {pose.index: pose.target_from_camera for pose in reconstruction.trajectory}
    stored = list(run.folder.pointmaps())
    assert len(stored) == FRAMES
    for pointmap in stored:
        written = cv2.imread(str(tmp_path / "run" / "depth" / f"{pointmap.index:06d}.tiff"), cv2.IMREAD_UNCHANGED)
        true = walk.rendering(pointmap.index).depth
        for depth in (written, depth_from_pointmap(pointmap.points, path[pointmap.index])):
            assert np.nanmedian(depth / true) == pytest.approx(1.0, abs=0.05), pointmap.index
    images = json.loads((tmp_path / "run" / "transforms.json").read_text())["frames"]
    exported = np.array([image["transform_matrix"] for image in images])[:, :3, 3]
    np.testing.assert_allclose(exported, [path[index].translation for index in sorted(path)], atol=1e-6)
