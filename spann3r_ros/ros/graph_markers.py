"""The pose graph as markers for RViz: a point for each submap, a line for each measurement between two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from spann3r_ros.mapping.graph_corrections import GraphView
from spann3r_ros.mapping.pose_graph import JOINT, LOOP, ODOMETRY
from spann3r_ros.ros.conversions import header

SUBMAPS, REJECTED = "submaps", "rejected"

COLORS = {
    SUBMAPS: (1.0, 0.67, 0.0),
    JOINT: (0.8, 0.8, 0.8),
    LOOP: (0.1, 0.9, 0.2),
    ODOMETRY: (0.2, 0.5, 1.0),
    REJECTED: (0.9, 0.1, 0.1),
}
"""Red, green and blue of each namespace; what was rejected or waits for a second loop is in one of its own."""

SIZE, THINNEST = 0.1, 0.01
"""Diameter of a submap's point as a share of the usual distance between neighbors, and the least in map units."""


def graph_markers(view: GraphView, stamp: int, frame: str) -> MarkerArray:
    """All of a graph; whoever shows it forgets what it showed before."""
    message = MarkerArray(markers=[Marker(header=header(stamp, frame), action=Marker.DELETEALL)])
    lengths = [np.linalg.norm(edge.second - edge.first) for edge in view.edges if edge.kind == JOINT]
    size = max(SIZE * float(np.median(lengths)) if lengths else SIZE, THINNEST)
    message.markers.append(_marker(SUBMAPS, Marker.SPHERE_LIST, view.submaps, size, stamp, frame))
    for kind in (JOINT, LOOP, ODOMETRY, REJECTED):
        edges = [edge for edge in view.edges if (edge.kind if edge.holds else REJECTED) == kind]
        ends = [end for edge in edges for end in (edge.first, edge.second)]
        message.markers.append(_marker(kind, Marker.LINE_LIST, ends, size / 4, stamp, frame))
    return message


def _marker(name: str, kind: int, points: Sequence[NDArray[np.float64]], size: float, stamp: int, frame: str) -> Marker:
    action = Marker.ADD if len(points) else Marker.DELETE  # RViz complains about lists without points
    marker = Marker(header=header(stamp, frame), ns=name, type=kind, action=action)
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = size
    red, green, blue = COLORS[name]
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in (point.tolist() for point in points)]
    return marker
