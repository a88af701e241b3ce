"""The camera of the synthetic world."""

from __future__ import annotations

from spann3r_ros.frame import Intrinsics

FOCAL = 0.65625
"""Focal length over image width: 420 px at 640 px, a horizontal field of view of 75 degrees."""


def synthetic_camera(width: int = 640, height: int = 480, zoom: float = 1.0) -> Intrinsics:
    """Square pixels and a centered principal point; ``zoom`` multiplies the focal length."""
    focal = FOCAL * zoom * width
    return Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
