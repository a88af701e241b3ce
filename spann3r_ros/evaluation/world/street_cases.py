"""The pose graph on a long drive through streets."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spann3r_ros.evaluation.pose_graph_benchmark import SPACING, streets
from spann3r_ros.evaluation.world.case import AIM, MISSED, MUST, Finding, spread_text
from spann3r_ros.mapping.graph_solver import require_gtsam, solve


@dataclass(frozen=True)
class StreetLoops:
    """Submaps and loops as of a long drive, solved at once.

    Attributes:
        seeds: drives.
        submaps, loops: of each; a submap every ten meters.
    """

    NAME: ClassVar[str] = "street_loops"
    MUST_TEXT: ClassVar[str] = "<= 2 s; <= 2 GB"
    AIM_TEXT: ClassVar[str] = "0.5 s; 1 GB"

    seeds: int = 20
    submaps: int = 1000
    loops: int = 200

    def title(self) -> str:  # noqa: D102
        return (
            f"{SPACING * self.submaps / 1000:g} km of simulated street loops, {self.submaps:,} submaps, {self.loops} "
            f"loops, {self.seeds} drives: processor time of the first solution; peak memory of the process"
        )

    def measure(self) -> Finding:  # noqa: D102
        require_gtsam()
        seconds = []
        for seed in range(self.seeds):
            drive = streets(self.submaps, self.loops, seed=seed)
            begin = time.process_time()
            solve(drive.places, [*drive.joints, *drive.loops])
            # The first one imports GTSAM.
            seconds.append(time.process_time() - begin)
        gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        middle = float(np.median(seconds))
        grade = AIM if middle <= 0.5 and gigabytes <= 1 else MUST if middle <= 2 and gigabytes <= 2 else MISSED
        return Finding(f"{spread_text(seconds, ' s')}; {gigabytes:.2f} GB", grade)
