"""From a map and a trajectory on disk to a page."""

from __future__ import annotations

import numpy as np

from spann3r_ros.cli.main import main
from spann3r_ros.files.ply import write_ply
from spann3r_ros.files.tum import write_trajectory
from spann3r_ros.point_cloud import PointCloud
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


def test_a_missing_map_is_named(tmp_path, capsys) -> None:
    assert main(["view", str(tmp_path / "no.ply")]) == 2
    assert "no.ply" in capsys.readouterr().err
