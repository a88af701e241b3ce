"""Fast3R's own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spann3r_ros.models.fast3r.architecture import MOST_VIEWS
from spann3r_ros.parameter import parameter


@dataclass
class Fast3rParameters:
    """How Fast3R, which sees a set of images at once, follows a stream, and what of its two pointmaps is taken."""

    GROUP: ClassVar[str] = "fast3r"

    window: int = parameter(
        8, "Frames that are inferred at once; time grows with the square.", unit="frames", low=2, high=MOST_VIEWS
    )
    overlap: int = parameter(
        2, "How many of them the window before had, too; less than the window.", unit="frames", low=1, high=MOST_VIEWS
    )
    join: str = parameter(
        "frame",
        "frame: every window is brought into the first one's frame. submaps: each window is a submap.",
        choices=("frame", "submaps"),
    )
    points: str = parameter(
        "local",
        "local: the sharper pointmaps of each view's own camera, aligned to the global ones, as the paper shows them. "
        "global: those of the first camera.",
        choices=("local", "global"),
    )
    cameras: str = parameter(
        "robust",
        "robust: poses as for every family (`pose.*`), focal lengths of uncalibrated cameras from each view's own "
        "pointmap. The others are the demo's ways to a focal length, with its PnP on all pixels: the first view's for "
        "all, by the global or the local head, or the best of a hundred for each (slow).",
        choices=(
            "robust",
            "first_view_from_global_head",
            "first_view_from_local_head",
            "individual",
        ),
    )
    seed: int = parameter(
        0, "Of the image ids that are drawn for the views after the first.", low=0, high=2**31 - 1, live=True
    )
