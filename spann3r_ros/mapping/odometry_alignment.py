"""How a submap lies in odometry's frame, by the samples of its camera's path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from spann3r_ros.mapping.odometry_track import PathSample
from spann3r_ros.mapping.path_scale import PathSamples, is_jump, path_scale
from spann3r_ros.sim3 import Sim3

SPAN = 200
"""Samples on each side of where two submaps meet that are looked at, at most."""

PLACE, TURN = 0.1, np.radians(3.0)
"""How far a camera in its submap is from odometry's path, in meters and radians: which of both counts how much."""

UNIT_SAMPLES = 24
"""Samples of a submap from which its own unit may be known."""

UNIT_DEVIATION = 0.05
"""Relative deviation of a submap's own unit from which on odometry sets it."""


@dataclass(frozen=True, eq=False)
class OdometryAlignment:
    """A submap in odometry's frame.

    Attributes:
        odom_from_submap: in meters.
        deviation: of the logarithm of its scale.
        middle: of the samples: submap_from_place, of no rotation, in the submap's unit.
        told: odom_from_camera of the sample in the middle.
        samples: that it rests on.
    """

    odom_from_submap: Sim3
    deviation: float
    middle: Sim3
    told: Sim3
    samples: int

    @classmethod
    def of(cls, part: Sequence[PathSample], unit: float, deviation: float) -> OdometryAlignment:
        """By successive samples of one submap, whose unit is so many meters, known as well as its deviation says.

        Positions and rotations count together (Umeyama, PAMI 1991, with three more pairs of points for each
        rotation): few samples, or a camera that turns, tell a turn by their rotations, a long way by its shape.
        """
        told = np.stack([sample.told.translation for sample in part])
        seen = np.stack([sample.seen.translation for sample in part])
        told_middle, seen_middle = told.mean(axis=0), seen.mean(axis=0)
        shape = (told - told_middle).T @ (unit * (seen - seen_middle)) / PLACE**2
        told_turns, seen_turns = (
            np.stack([pose.rotation for pose in poses])
            for poses in ([sample.told for sample in part], [sample.seen for sample in part])
        )
        turned = np.einsum("nij,nkj->ik", told_turns, seen_turns) / (2.0 * TURN**2)
        left, _, right = np.linalg.svd(shape + turned)
        turn = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
        return cls(
            Sim3(unit, turn, told_middle - unit * turn @ seen_middle),
            deviation,
            Sim3(translation=seen_middle),
            part[len(part) // 2].told,
            len(part),
        )


def samples_before(part: Sequence[PathSample]) -> Sequence[PathSample]:
    """The last samples of a submap, as far back as odometry does not jump."""
    part = part[-SPAN:]
    jumps = _jumps(part)
    return part[jumps[-1] :] if jumps else part


def samples_after(part: Sequence[PathSample]) -> Sequence[PathSample]:
    """The first samples of a submap, up to where odometry jumps."""
    part = part[:SPAN]
    jumps = _jumps(part)
    return part[: jumps[0]] if jumps else part


def usual_speed(part: Sequence[PathSample]) -> float:
    """Meters a second, the upper quartile of the steps within submaps."""
    speeds = [
        float(np.linalg.norm(b.told.translation - a.told.translation)) / max(1e-3, (b.stamp - a.stamp) / 1e9)
        for a, b in pairwise(part)
        if a.chain == b.chain
    ]
    return float(np.quantile(speeds, 0.75)) if speeds else 0.0


def _jumps(part: Sequence[PathSample]) -> list[int]:
    """Indices of samples before which odometry jumped."""
    steps = [float(np.linalg.norm(b.told.translation - a.told.translation)) for a, b in pairwise(part)]
    return [int(index) + 1 for index in np.flatnonzero(is_jump(np.array(steps)))]


def own_unit(part: Sequence[PathSample], unit: float) -> tuple[float, float] | None:
    """Meters of one unit of a submap by its own samples, and their relative deviation; None when not known well."""
    if len(part) < UNIT_SAMPLES:
        return None
    found = path_scale(
        PathSamples(
            np.array([sample.chain for sample in part], np.int64),
            unit * np.stack([sample.seen.translation for sample in part]),
            np.stack([sample.told.translation for sample in part]),
            np.stack([sample.seen.rotation for sample in part]),
            np.stack([sample.told.rotation for sample in part]),
            unit * np.array([sample.depth for sample in part]),
        )
    )
    if found.value is None or found.deviation > UNIT_DEVIATION:
        return None
    return found.value * unit, found.deviation
