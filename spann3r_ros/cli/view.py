"""Make a page that shows a map in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from spann3r_ros.config import MapConfig
from spann3r_ros.errors import ConfigError
from spann3r_ros.files.ply import read_ply
from spann3r_ros.files.tum import read_trajectory
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.graph_corrections import GraphCorrections, GraphView
from spann3r_ros.mapping.pose_graph import PoseGraph
from spann3r_ros.mapping.storage import read_map
from spann3r_ros.pictures.viewer import MAX_POINTS, write_viewer
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.runs.folder import CLOUD, RECORD, TRAJECTORY, RunFolder
from spann3r_ros.sim3 import Sim3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``view``."""
    parser.add_argument(
        "map", type=Path, help="colored cloud (PLY), or the folder of a run or of ~/save_map, with path and submaps"
    )
    parser.add_argument("trajectory", type=Path, nargs="?", help="camera path (TUM format)")
    parser.add_argument("-o", "--out", type=Path, help="page to write (by default the map's name with .html)")
    parser.add_argument("--title", help="of the page (by default the map's name)")
    parser.add_argument("--max-points", type=int, default=MAX_POINTS, help=f"most points of the page ({MAX_POINTS})")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and tell where it is."""
    source, trajectory = arguments.map, arguments.trajectory
    if source.is_dir():
        if trajectory is not None:
            raise ConfigError("trajectory", got=trajectory, expected="none: the folder has one")
        cloud, cameras, graph = read_folder(source)
    else:
        cloud, cameras, graph = read_ply(source), _cameras(trajectory) if trajectory else [], GraphView()
    # Beside a folder, not in it: a saved map with other files in it would not be replaced by the next one.
    place = source.resolve()
    out = arguments.out or (place.with_name(f"{place.name}.html") if source.is_dir() else source.with_suffix(".html"))
    title = arguments.title or place.stem
    count = write_viewer(out, cloud, cameras, title, arguments.max_points, graph)
    print(f"{out}: {count} points, {len(cameras)} poses, {out.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0


def read_folder(path: Path) -> tuple[PointCloud, list[Sim3], GraphView]:
    """Cloud, cameras and pose graph of a run, or of a saved map; raises DataError for another folder."""
    if (path / RECORD).exists():
        graph = RunFolder(path).record().graph_view()
    else:
        world, saved = read_map(path, MapConfig())
        corrections = GraphCorrections(PoseGraph(), Background(False))
        corrections.restore(saved.correctors.get(corrections.name, {}))
        graph = corrections.view(world)
    return read_ply(path / CLOUD), _cameras(path / TRAJECTORY), graph


def _cameras(trajectory: Path) -> list[Sim3]:
    return [pose.target_from_camera for pose in read_trajectory(trajectory, gaps=True)]
