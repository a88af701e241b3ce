"""From a map and a trajectory on disk to a page."""

from __future__ import annotations

import numpy as np
from library import walk
from made_up_run import write_run
from wall_network import write_wall_checkpoint

from spann3r_ros.cli.main import main
from spann3r_ros.config import Config
from spann3r_ros.files.ply import write_ply
from spann3r_ros.files.tum import write_trajectory
from spann3r_ros.mapping.pose_graph import EdgeNoise, SubmapEdge
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import StampedPose


def test_a_page_from_files(tmp_path, capsys) -> None:
    points = np.random.default_rng(0).random((500, 3)).astype(np.float32)
    write_ply(tmp_path / "map.ply", PointCloud(points, np.full((500, 3), 99, np.uint8), np.ones(500, np.float32)))
    poses = [StampedPose(n, n, "camera", Sim3(translation=np.array([0.1 * n, 0, 0]))) for n in range(7)]
    write_trajectory(tmp_path / "path.txt", poses)
    assert main(["view", str(tmp_path / "map.ply"), str(tmp_path / "path.txt"), "--max-points", "300"]) == 0
    assert "map.html: 300 points, 7 poses" in capsys.readouterr().out
    text = (tmp_path / "map.html").read_text()
    assert "300 points of 500, 7 camera poses" in text
    assert "<title>map</title>" in text
    assert main(["view", str(tmp_path / "map.ply"), "-o", str(tmp_path / "own.html"), "--title", "Our flat"]) == 0
    assert "<title>Our flat</title>" in (tmp_path / "own.html").read_text()


def test_the_folders_of_a_run_and_of_a_saved_map_are_shown_with_their_submaps(tmp_path, capsys) -> None:
    write_wall_checkpoint(tmp_path / "wall.safetensors")
    reconstruction = Reconstruction.from_config(Config(checkpoint=str(tmp_path / "wall.safetensors"), device="cpu"))
    reconstruction.config.tracking.enabled = False
    reconstruction.config.map.min_observations = 1
    for frame in walk(4):
        reconstruction.process(frame)
    reconstruction.map.open_submap(1, Sim3(translation=np.array([3.0, 0.0, 0.0])))
    assert reconstruction.usual is not None
    edge = SubmapEdge(0, 1, Sim3(translation=np.array([0.0, 0.0, 3.0])), EdgeNoise(0.1, 0.1, 0.1), "loop")
    reconstruction.usual.measurements.put(edge)
    saved = reconstruction.save(tmp_path / "map")
    assert main(["view", str(tmp_path / "map")]) == 0
    assert f"map.html: {saved.points} points, {saved.frames} poses" in capsys.readouterr().out
    assert (
        f"{saved.points:,} points, {saved.frames:,} camera poses, 2 submaps, 1 loops"
        in (tmp_path / "map.html").read_text()
    )
    assert reconstruction.save(tmp_path / "map").points == saved.points, "the page does not stand in the way"

    run = write_run(tmp_path / "run")
    record = run.record()
    record.keep_graph(reconstruction.pose_graph())
    record.write(run.path / "run.json")
    assert main(["view", str(run.path), "-o", str(tmp_path / "own.html")]) == 0
    assert "2 submaps, 1 loops" in (tmp_path / "own.html").read_text()
    assert main(["view", str(run.path), str(run.path / "trajectory.txt")]) == 2
    assert main(["view", str(tmp_path)]) == 2


def test_a_missing_map_is_named(tmp_path, capsys) -> None:
    assert main(["view", str(tmp_path / "no.ply")]) == 2
    assert "no.ply" in capsys.readouterr().err
