"""Make a page that shows a map in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from spann3r_ros.files.ply import read_ply
from spann3r_ros.files.tum import read_trajectory
from spann3r_ros.pictures.viewer import MAX_POINTS, write_viewer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``view``."""
    parser.add_argument("map", type=Path, help="colored cloud (PLY)")
    parser.add_argument("trajectory", type=Path, nargs="?", help="camera path (TUM format)")
    parser.add_argument("-o", "--out", type=Path, help="page to write (by default the map's name with .html)")
    parser.add_argument("--title", help="of the page (by default the map's name)")
    parser.add_argument("--max-points", type=int, default=MAX_POINTS, help=f"most points of the page ({MAX_POINTS})")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and tell where it is."""
    cloud = read_ply(arguments.map)
    cameras = []
    if arguments.trajectory is not None:
        cameras = [pose.target_from_camera for pose in read_trajectory(arguments.trajectory, gaps=True)]
    out = arguments.out or arguments.map.with_suffix(".html")
    count = write_viewer(out, cloud, cameras, arguments.title or arguments.map.stem, arguments.max_points)
    print(f"{out}: {count} points, {len(cameras)} poses, {out.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0
