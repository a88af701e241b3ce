"""A page that shows a colored cloud and the camera's path in any browser, in one file and without a network."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spann3r_ros.errors import DataError
from spann3r_ros.mapping.graph_corrections import GraphView
from spann3r_ros.mapping.pose_graph import JOINT, LOOP, ODOMETRY
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

MAX_POINTS = 400_000
"""More would make the file larger than 10 MB and old computers slow."""
PYRAMIDS = 40
"""About how many cameras are drawn along the path."""

EDGE_COLORS = {JOINT: "#cccccc", LOOP: "#1ae633", ODOMETRY: "#3380ff"}
REJECTED_COLOR = "#e61919"
"""Colors of the pose graph's edges, as RViz shows them; of those that do not hold."""


def write_viewer(
    path: Path,
    cloud: PointCloud,
    cameras: Sequence[Sim3] = (),
    title: str = "Map",
    max_points: int = MAX_POINTS,
    graph: GraphView | None = None,
) -> int:
    """Write the page.

    Args:
        path: of the HTML file.
        cloud: in a world with z up.
        cameras: world_from_camera of each frame (optical axes) in the order of time.
        title: of the page.
        max_points: of a larger cloud, this many points are chosen at random (the same ones each time).
        graph: how submaps hold together, in the same world; a single one is not drawn.

    Returns:
        Number of points in the page.

    Raises:
        DataError: an empty cloud, or a path that cannot be written.
    """
    if max_points < 1:
        raise DataError("points of the viewer", got=max_points, expected=">= 1")
    text, count = _page(cloud, cameras, title, max_points, graph or GraphView())
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"viewer cannot be written to {path}", got=str(error)) from error
    return count


def _page(cloud: PointCloud, cameras: Sequence[Sim3], title: str, max_points: int, graph: GraphView) -> tuple[str, int]:
    """The page, and the number of points in it."""
    if len(cloud) == 0:
        raise DataError("cloud to view", got="0 points", expected="at least one")
    points, colors = cloud.points, cloud.colors
    if len(points) > max_points:
        chosen = np.random.default_rng(0).permutation(len(points))[:max_points]
        points, colors = points[chosen], colors[chosen]
    caption = f"{len(points):,} points" + (f" of {len(cloud):,}" if len(points) < len(cloud) else "")
    if cameras:
        caption += f", {len(cameras):,} camera poses"
    if len(graph.submaps) > 1:
        loops = sum(edge.kind == LOOP and edge.holds for edge in graph.edges)
        caption += f", {len(graph.submaps):,} submaps, {loops:,} loops"
    page = resources.files("spann3r_ros.pictures") / "viewer_page"
    parts = {
        "title": html.escape(title),
        "caption": html.escape(caption),
        "three": (page / "three_for_viewer.min.js").read_text(encoding="utf-8"),
        "data": json.dumps({**_data(points, colors, cameras), "graph": _graph(graph)}),
    }
    template = (page / "viewer.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template), len(points)


def _data(points: NDArray[np.float32], colors: NDArray[np.uint8], cameras: Sequence[Sim3]) -> dict[str, Any]:
    """What the page's script reads: points as steps of 1/65535 of the bounding box, the rest as numbers."""
    low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
    size = np.maximum(high - low, 1e-9)
    steps = np.round((points - low) / size * 65535).astype("<u2")
    path = np.array([camera.translation for camera in cameras]).reshape(-1, 3)
    # A few stray points must not make the room small on the screen.
    inner_low, inner_high = np.percentile(points, (1, 99), axis=0)
    extent = max(float(np.linalg.norm(inner_high - inner_low)), 1e-3)
    # Just over the camera's head: below the ceiling, so that one can look into the rooms.
    cut = float(path[:, 2].max() + 0.04 * extent) if len(path) else float(high[2])
    return {
        "points": base64.b64encode(steps.tobytes()).decode(),
        "colors": base64.b64encode(np.ascontiguousarray(colors).tobytes()).decode(),
        "low": low.tolist(),
        "high": high.tolist(),
        "center": ((inner_low + inner_high) / 2).tolist(),
        "extent": extent,
        "cut": min(max(cut, float(low[2])), float(high[2])),
        "spacing": 1.2 * _spacing(points, extent),
        "path": np.round(path, 4).tolist(),
        "pyramids": _pyramids(cameras, 0.013 * extent),
    }


def _graph(view: GraphView) -> dict[str, Any]:
    """Places of the submaps, and for each color the ends of the lines between them."""
    if len(view.submaps) < 2:
        return {"submaps": [], "lines": {}}
    lines: dict[str, list[list[float]]] = {}
    for edge in view.edges:
        ends = lines.setdefault(EDGE_COLORS[edge.kind] if edge.holds else REJECTED_COLOR, [])
        ends += [np.round(end, 4).tolist() for end in (edge.first, edge.second)]
    return {"submaps": [np.round(middle, 4).tolist() for middle in view.submaps], "lines": lines}


def _spacing(points: NDArray[np.float32], extent: float) -> float:
    """Distance from a point to its nearest neighbor that four of five do not exceed."""
    if len(points) < 2:
        return extent
    some = points[:: max(1, len(points) // 2000)]
    distances, _ = cKDTree(points).query(some, k=2)
    return max(float(np.percentile(distances[:, 1], 80)), extent / 2000)


def _pyramids(cameras: Sequence[Sim3], size: float) -> list[list[list[float]]]:
    """Ends of the eight edges of a pyramid for some of the cameras, the tip where the camera is."""
    x, y = 0.8 * size, 0.6 * size
    corners = np.array([[0, 0, 0], [-x, -y, size], [x, -y, size], [x, y, size], [-x, y, size]])
    edges = [0, 1, 0, 2, 0, 3, 0, 4, 1, 2, 2, 3, 3, 4, 4, 1]
    step = max(1, len(cameras) // PYRAMIDS)
    return [np.round(camera.apply(corners)[edges], 4).tolist() for camera in cameras[::step]]
