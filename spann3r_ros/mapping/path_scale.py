"""How large a camera's path is beside the path that odometry tells, and how sure that is.

The paths are compared in pieces of some meters, each turned and moved by itself: the drift of odometry over a long way
bends it, but does not change its size. A piece counts only when it tells something: translation that stands out from
the noise on both sides, and from what a wrong rotation looks like.

How sure the result is tells a jackknife over blocks of successive samples, whose errors hang together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.geometry.alignment import Array
from spann3r_ros.mapping.scale_estimate import FLOOR

BLOCKS, LEAST_BLOCKS = 12, 6
"""Blocks that all samples are cut into at least where there are enough; and without which nothing is said."""

SHORTEST, LONGEST = 6, 30
"""Samples of a block."""

PIECE = 8.0
"""Meters of way by odometry in one piece at most."""

JUMP, LEAST_JUMP = 5.0, 0.05
"""A step of so many times the upper quartile of all steps, and of so many meters, is a jump: no piece goes over it."""

STANDS, TRAVELS = 0.05, 0.3
"""Spread of a piece of odometry, in meters, below which it may be noise; and above which the robot surely moves."""

PARALLAX, MOVES = 0.02, 0.1
"""Spread of a piece of the camera's path, as a share of the depth of what it sees, below which it may be noise; and
above which the camera surely moves."""

TURNING = 0.1
"""Least spread of the camera's path over its depth and the spread of its rotation: less is a camera that turns."""

APART = np.radians(12.0)
"""A piece whose rotations differ by more has nothing in common with odometry."""

STANDING, STILL, TURNS, DIFFERS = (
    "odometry stands still while the camera moves",
    "the camera stands still while odometry moves",
    "the camera turns, but hardly moves",
    "odometry and camera turn or move differently",
)
"""Why a part of a path tells no scale."""


@dataclass(frozen=True, eq=False)
class PathSamples:
    """The same camera at N moments, in order, seen by the network and told by odometry.

    Attributes:
        chains: (N,) int; samples of one chain are in one submap and of one camera.
        seen, told: (N, 3) positions in the submap, in units of the first submap; and in odometry's frame, in meters.
        seen_rotations, told_rotations: (N, 3, 3) of the camera in the submap and in odometry's frame.
        depths: (N,) median depth of what the camera sees, in units of the first submap.
    """

    chains: NDArray[np.int64]
    seen: Array
    told: Array
    seen_rotations: Array
    told_rotations: Array
    depths: Array


@dataclass(frozen=True)
class PathScale:
    """What a comparison of paths says.

    Attributes:
        value: meters of one unit, or None while nobody can tell.
        deviation: relative standard deviation of it; infinite without a value.
        reason: why most of the way tells nothing; empty where it does.
        jumps: steps of odometry that the camera did not make.
        used: samples that it rests on.
    """

    value: float | None
    deviation: float
    reason: str
    jumps: int
    used: int


@dataclass(frozen=True, eq=False)
class _Piece:
    """Sums over the samples of one piece, block by block, from which its slope follows with or without each block.

    Attributes:
        weight, here, there: (B,), (B, 3), (B, 3) sums of the samples' weights, and of both paths with them.
        both, power: (B,) sums of the paths' inner product, and of the square of odometry's.
        noise: standard deviation of the camera's path about odometry's.
        samples: how many.
    """

    weight: Array
    here: Array
    there: Array
    both: Array
    power: Array
    noise: float
    samples: int

    def fitted(self) -> tuple[float, float]:
        """Product and power of both paths, each about its mean; their ratio is units a meter."""
        weight, here, there = self.weight.sum(), self.here.sum(axis=0), self.there.sum(axis=0)
        return float(self.both.sum() - here @ there / weight), float(self.power.sum() - there @ there / weight)

    def without_each(self) -> tuple[Array, Array]:
        """As ``fitted``, (B,) each, without each of the blocks."""
        weight = self.weight.sum() - self.weight
        here, there = self.here.sum(axis=0) - self.here, self.there.sum(axis=0) - self.there
        weight = np.maximum(weight, 1e-9)
        both = self.both.sum() - self.both - (here * there).sum(axis=1) / weight
        return both, self.power.sum() - self.power - (there**2).sum(axis=1) / weight


def path_scale(samples: PathSamples) -> PathScale:
    """Compare two paths; see the module."""
    runs, jumps = _runs(samples)
    length = int(np.clip(sum(map(len, runs)) // BLOCKS, SHORTEST, LONGEST))
    reasons: Counter[str] = Counter()
    pieces: list[_Piece] = []
    for run in runs:
        blocks = np.array_split(run, max(1, len(run) // length))
        for piece in _pieces(samples, blocks, reasons):
            fitted = _piece(samples, piece, reasons)
            if fitted is not None:
                pieces.append(fitted)
    used = sum(piece.samples for piece in pieces)
    why = reasons.most_common(1)[0][0] if reasons and reasons.total() > used else ""
    found = _pooled(pieces)
    return PathScale(None, np.inf, why, jumps, used) if found is None else PathScale(*found, why, jumps, used)


def mean_rotation(told: Array, seen: Array) -> Array:
    """(3, 3) ``told_from_seen`` that turns rotations (N, 3, 3) into each other best, by the chordal distance."""
    # A product of matrices: an einsum of so few numbers costs a multiple of it, and a live map does this every frame.
    told, seen = (np.swapaxes(each, 0, 1).reshape(3, -1) for each in np.broadcast_arrays(told, seen))
    left, _, right = np.linalg.svd(told @ seen.T)
    left[:, 2] *= np.linalg.det(left @ right)
    return np.asarray(left @ right)


def rotation_angles(rotations: Array) -> Array:
    """(N,) angles in radians of rotations (N, 3, 3)."""
    traces = np.trace(rotations, axis1=1, axis2=2)
    return np.asarray(np.arccos(np.clip((traces - 1.0) / 2.0, -1.0, 1.0)))


def is_jump(steps: Array) -> NDArray[np.bool_]:
    """Which of the steps (N,) of odometry, in meters, are far longer than the others."""
    if not len(steps):
        return np.zeros(0, bool)
    return np.asarray(steps > JUMP * np.quantile(steps, 0.75) + LEAST_JUMP)


def _runs(samples: PathSamples) -> tuple[list[NDArray[np.int64]], int]:
    """Indices of samples without a jump between them; and how many jumps the camera did not make."""
    steps = np.linalg.norm(np.diff(samples.told, axis=0), axis=1)
    seen_steps = np.linalg.norm(np.diff(samples.seen, axis=0), axis=1)
    same = np.diff(samples.chains) == 0
    far = np.zeros(len(same), bool)
    far[same] = is_jump(steps[same])
    alone = far & (seen_steps < JUMP * np.quantile(seen_steps[same], 0.75)) if same.any() else far
    breaks = np.flatnonzero(far | ~same) + 1
    return [run for run in np.split(np.arange(len(samples.chains)), breaks) if len(run) >= SHORTEST], int(alone.sum())


def _pieces(
    samples: PathSamples, blocks: list[NDArray[np.int64]], reasons: Counter[str]
) -> list[list[NDArray[np.int64]]]:
    """Successive blocks on at most ``PIECE`` meters, without those on which the two paths contradict each other."""
    pieces: list[list[NDArray[np.int64]]] = [[]]
    way = 0.0
    for block in blocks:
        reason = _compared(samples, block, rounds=1)[0]  # roughly
        if reason in (STANDING, STILL, DIFFERS):
            reasons[reason] += len(block)
            pieces.append([])
            continue
        far = float(np.linalg.norm(np.diff(samples.told[block], axis=0), axis=1).sum())
        if pieces[-1] and way + far > PIECE:
            pieces.append([])
        way = far if not pieces[-1] else way + far
        pieces[-1].append(block)
    return [piece for piece in pieces if piece]


def _piece(samples: PathSamples, blocks: list[NDArray[np.int64]], reasons: Counter[str]) -> _Piece | None:
    """The sums of a piece; None, and its reason counted, when it tells no scale."""
    part = np.concatenate(blocks)
    reason, here, there, weights, noise = _compared(samples, part, rounds=4)
    if reason:
        reasons[reason] += len(part)
        return None
    starts = np.cumsum([0, *map(len, blocks[:-1])])

    def summed(values: Array) -> Array:
        return np.asarray(np.add.reduceat(values, starts, axis=0))

    return _Piece(
        summed(weights),
        summed(weights[:, None] * here),
        summed(weights[:, None] * there),
        summed(weights * (here * there).sum(axis=1)),
        summed(weights * (there**2).sum(axis=1)),
        noise,
        len(part),
    )


def _compared(samples: PathSamples, part: NDArray[np.int64], rounds: int) -> tuple[str, Array, Array, Array, float]:
    """Two paths turned by the mean rotation and fitted with Huber's weights.

    The camera's path is regressed on odometry's, not the other way, for what is noisy must not divide: noise in the
    camera's path would make the scale too small.

    Returns:
        Why it tells no scale, or nothing; the camera's path (N, 3) in odometry's axes and odometry's, both about their
        means; weights (N,); and the standard deviation of a coordinate of the camera's path about odometry's.
    """
    own, other = samples.seen_rotations[part], samples.told_rotations[part]
    turn = mean_rotation(other, own)
    apart = _mean_square(rotation_angles(np.swapaxes(other, 1, 2) @ turn @ own))
    turning = _mean_square(rotation_angles(np.swapaxes(own, 1, 2) @ mean_rotation(own, np.eye(3)[None])))
    turned, told = samples.seen[part] @ turn.T, samples.told[part]
    weights = np.ones(len(part))
    for _ in range(rounds):
        share = weights / weights.sum()
        here, there = turned - share @ turned, told - share @ told
        power = float(share @ (there**2).sum(axis=1))
        slope = float(share @ (here * there).sum(axis=1)) / power if power > 0 else 0.0
        residuals = np.sqrt(((here - slope * there) ** 2).sum(axis=1))
        noise = max(_median(residuals), 1e-12)
        weights = np.minimum(1.0, 2.0 * noise / np.maximum(residuals, 1e-12))
    parallax = float(np.sqrt(share @ (here**2).sum(axis=1))) / _median(samples.depths[part])
    reason = _objection(parallax, float(np.sqrt(power)), turning, apart, slope)
    return reason, here, there, weights, noise / np.sqrt(3.0)


def _median(values: Array) -> float:
    """As NumPy's of one dimension, which takes ten times as long for a few dozen numbers."""
    ordered = np.sort(values)
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0)


def _mean_square(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _objection(parallax: float, told: float, turning: float, apart: float, slope: float) -> str:
    """Why a part of a path tells no scale, or nothing; arguments in depths, meters, radians."""
    if told < STANDS:
        return STANDING if parallax > MOVES else TURNS
    if parallax < PARALLAX:
        return STILL if told > TRAVELS else TURNS
    if parallax < TURNING * turning:
        return TURNS
    return DIFFERS if apart > APART or slope <= 0 else ""


def _pooled(pieces: list[_Piece]) -> tuple[float, float] | None:
    """Meters a unit by all pieces, and the relative deviation; None while there are too few blocks."""
    count = sum(len(piece.weight) for piece in pieces)
    if count < LEAST_BLOCKS:
        return None
    fitted = np.array([piece.fitted() for piece in pieces])
    slopes = fitted[:, 0] / fitted[:, 1]
    middle = float(np.median(slopes))
    # A piece without noise must not outweigh all others, nor one that says something else than they.
    sizes = np.array([piece.noise for piece in pieces]) + FLOOR * middle * np.sqrt(fitted[:, 1])
    away = np.abs(slopes - middle)
    typical = 2.0 * max(float(np.median(away)), FLOOR * middle)
    trust = np.minimum(1.0, typical / np.maximum(away, 1e-300)) / sizes**2
    both, power = trust @ fitted
    slope = both / power
    without = []
    for piece, own, weight in zip(pieces, fitted, trust, strict=True):
        rest_both, rest_power = piece.without_each()
        powers = power + weight * (rest_power - own[1])
        # Where next to nothing is left without a block, all rests on it.
        without.append(np.where(powers > 1e-3 * power, (both + weight * (rest_both - own[0])) / powers, 0.0))
    slopes = np.concatenate(without)
    scatter = float(np.sqrt((count - 1) / count * np.sum((slopes - slopes.mean()) ** 2)))
    # Few blocks tell their scatter badly, as Student's distribution has it.
    deviation = scatter / slope * (1.0 + 2.0 / (count - 1))
    return (float(1.0 / slope), max(float(deviation), FLOOR)) if slope > 0 else None
