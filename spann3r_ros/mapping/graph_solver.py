"""The places of submaps that agree best with a pose graph, with GTSAM (the extra ``mapping``), and what does not fit.

Levenberg and Marquardt over similarities. Joints are believed; any other measurement has to fit in with the rest. Wrong
ones are found by graduated non-convexity with truncated least squares (Yang et al., "Graduated Non-Convexity for Robust
Spatial Perception", RA-L 2020), and a loop that bends a long chain of joints without stretching itself by its
leave-one-out residual (Baarda, "A testing procedure for use in geodetic networks", 1968).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri  # of chi-squared; scipy.stats takes most of a second to import

from spann3r_ros.errors import ConfigError, GeometryError
from spann3r_ros.mapping.pose_graph import ANCHOR, JOINT, LOOP, EdgeKey, Measurement, SubmapAnchor, SubmapEdge, parts
from spann3r_ros.sim3 import Sim3

if TYPE_CHECKING:
    import gtsam

Array = NDArray[np.float64]

FITS = float(chdtri(7, 1 - 0.99))
"""Squared residual, in standard deviations, up to which a measurement fits where the submaps lie."""

EXPECTED = float(chdtri(7, 1 - 0.999))
"""The same up to which it fits where the submaps would lie without it."""

LEAST_SUPPORT = 1e-3
"""Share of a measurement that the others must be able to check; what they cannot is not believed."""

HELD = 1e-4
"""Standard deviation by which the oldest submap of each part is held where it is, when no anchor holds it."""

LOOSELY_HELD = 1e3
"""The same where an anchor does: only so that the equations have a solution when that anchor is rejected."""

SHARPENING = 4.0
"""Factor by which the graduated cost comes nearer to the truncated one with each round."""

STEPS, SAME_COST = 15, 1e-4
"""At most so many steps at a time, and fewer when one lowers the cost by a smaller share."""

TO_GTSAM = [3, 4, 5, 0, 1, 2, 6]
"""GTSAM's vectors have the rotation first."""


def has_gtsam() -> bool:
    """Whether GTSAM is installed; it is not imported."""
    return importlib.util.find_spec("gtsam") is not None


def require_gtsam() -> None:
    """Raise ConfigError, which names the extra, where GTSAM is not installed."""
    if not has_gtsam():
        raise ConfigError(
            "loops, odometry and anchors need GTSAM, which is not installed",
            next_step="pip install 'spann3r_ros[mapping]' (Python 3.11 and newer), or set loops.enabled to false",
        )


@dataclass(frozen=True, eq=False)
class GraphPlaces:
    """What came of a graph.

    Attributes:
        world_from_submap: by id, for all submaps that were given.
        rejected: names of the measurements that do not fit.
        unchecked: names of those that nothing else speaks for or against; they were left out, too.
        cost: half the sum of the squared residuals of the others, in standard deviations.
        steps: of the solver, over all rounds.
    """

    world_from_submap: dict[int, Sim3]
    rejected: frozenset[EdgeKey]
    unchecked: frozenset[EdgeKey]
    cost: float
    steps: int


def solve(
    places: Mapping[int, Sim3],
    measurements: Sequence[Measurement],
    settled: Collection[EdgeKey] = (),
    doubted: Collection[EdgeKey] = (),
) -> GraphPlaces:
    """The places that agree best with what was measured.

    The oldest submap of every connected part stays where it is, unless an anchor of its part says otherwise.

    Args:
        places: ``world_from_submap`` as far as is known, by id; a submap that no measurement mentions stays there.
        measurements: those of submaps without a place do not count.
        settled: loops that were found to be as expected before; now they only have to fit.
        doubted: what was rejected before; it counts again when it fits without having been asked.

    Raises:
        ConfigError: GTSAM is not installed.
        GeometryError: equations without a solution.
    """
    require_gtsam()
    known = [each for each in measurements if set(each.key[1:]) <= places.keys()]
    problem = _Problem(places, known, frozenset(settled), frozenset(doubted))
    try:
        return problem.solved()
    except RuntimeError as error:  # GTSAM's own: a system that is singular
        raise GeometryError("the pose graph has no solution", got=error) from error


class _Problem:
    """A graph in GTSAM's terms."""

    def __init__(
        self,
        places: Mapping[int, Sim3],
        measurements: Sequence[Measurement],
        settled: frozenset[EdgeKey],
        doubted: frozenset[EdgeKey],
    ) -> None:
        import gtsam

        self.gtsam = gtsam
        self.places, self.measurements, self.settled = places, measurements, settled
        self.values = gtsam.Values()
        for submap, place in places.items():
            self.values.insert(submap, self._similarity(place))
        self.factors = [self._factor(each) for each in measurements]
        self.doubtful = np.array([each.key.kind != JOINT for each in measurements], np.bool_)
        self.weights = np.array([float(each.key not in doubted) for each in measurements])
        self.steps = 0

    def solved(self) -> GraphPlaces:
        lone = self._lone_bridges()
        self.weights[lone] = 0.0
        self._settle()
        again = (self.weights == 0) & ~lone & (self._squared() <= FITS)
        if again.any():
            self.weights[again] = 1.0
            self._settle()
        left = self._lone_bridges() & (self.weights > 0)
        if left.any():  # their fellows were rejected
            self.weights[left] = 0.0
            self._descend()
        lone |= left
        rejected = (self.weights == 0) & ~lone
        return GraphPlaces(
            {submap: self._sim3(self.values.atSimilarity3(submap)) for submap in self.places},
            frozenset(each.key for each, is_out in zip(self.measurements, rejected, strict=True) if is_out),
            frozenset(each.key for each, is_out in zip(self.measurements, lone, strict=True) if is_out),
            float(self._graph(self.weights).error(self.values)),
            self.steps,
        )

    def _settle(self) -> None:
        """Descend, and reject until all that is left fits."""
        self._descend()
        if (self._squared()[self.doubtful & (self.weights > 0)] > FITS).any():
            self._graduate()
        while True:
            worst = self._least_expected()
            if worst is None:
                return
            self.weights[worst] = 0.0
            self._descend()

    def _lone_bridges(self) -> NDArray[np.bool_]:
        """Which loops alone connect two parts of the world: nothing could tell whether such a one is wrong."""
        edges = [each for each in self.measurements if isinstance(each, SubmapEdge)]
        whole = parts(list(self.places), [edge for edge in edges if edge.kind == JOINT])
        bridges: dict[frozenset[int], list[int]] = {}
        for number, each in enumerate(self.measurements):
            if isinstance(each, SubmapEdge) and each.kind != JOINT and self.weights[number] > 0:
                ends = frozenset((whole[each.first], whole[each.second]))
                if len(ends) == 2:
                    bridges.setdefault(ends, []).append(number)
        lone = np.zeros(len(self.measurements), np.bool_)
        for numbers in bridges.values():
            if len(numbers) == 1 and self.measurements[numbers[0]].key.kind == LOOP:
                lone[numbers[0]] = True
        return lone

    def _graduate(self) -> None:
        """Lower the weights of what does not fit, to 0 in the end."""
        squared = self._squared()[self.doubtful & (self.weights > 0)]
        convexity = FITS / max(2 * float(squared.max()) - FITS, FITS)
        chosen = self.doubtful & (self.weights > 0)
        while True:
            squared = self._squared()
            with np.errstate(divide="ignore"):
                between = np.sqrt(FITS * convexity * (convexity + 1) / squared) - convexity
            self.weights[chosen] = np.clip(between, 0.0, 1.0)[chosen]
            if ((self.weights == 0) | (self.weights == 1)).all():
                break
            self._descend(1)
            convexity *= SHARPENING
        self._descend()

    def _least_expected(self) -> int | None:
        """The loop that fits worst where the submaps would lie without it; None when all are as expected."""
        fresh = [
            number
            for number, each in enumerate(self.measurements)
            if each.key.kind == LOOP and self.weights[number] > 0 and each.key not in self.settled
        ]
        if not fresh:
            return None
        marginals = self.gtsam.Marginals(self._graph(self.weights), self.values)
        worst, most = None, EXPECTED
        for number in fresh:
            ends = self.measurements[number].key[1:]
            jacobian, residual = self.factors[number].linearize(self.values).jacobian()
            joint = marginals.jointMarginalCovariance(list(ends))
            covariance = np.block([[joint.at(one, other) for other in ends] for one in ends])
            # The share of each direction that the others check.
            checked = np.eye(7) - jacobian @ covariance @ jacobian.T
            if float(np.linalg.eigvalsh(checked)[0]) < LEAST_SUPPORT:
                return number
            unexpected = float(residual @ np.linalg.solve(checked, residual))
            if unexpected > most:
                worst, most = number, unexpected
        return worst

    def _descend(self, steps: int = STEPS) -> None:
        """Steps of Levenberg and Marquardt, one call each: GTSAM holds Python's lock while it works."""
        optimizer = self.gtsam.LevenbergMarquardtOptimizer(self._graph(self.weights), self.values)
        cost = optimizer.error()
        for _ in range(steps):
            optimizer.iterate()
            self.steps += 1
            before, cost = cost, optimizer.error()
            if before - cost <= SAME_COST * before:
                break
        self.values = optimizer.values()

    def _squared(self) -> Array:
        """(M,) squared residuals in standard deviations, of all measurements."""
        return np.array([2.0 * factor.error(self.values) for factor in self.factors])

    def _graph(self, weights: Array) -> gtsam.NonlinearFactorGraph:
        graph = self.gtsam.NonlinearFactorGraph()
        for factor in self._holding(weights):
            graph.add(factor)
        for factor, weight, each in zip(self.factors, weights.tolist(), self.measurements, strict=True):
            if weight == 1.0:
                graph.add(factor)
            elif weight > 0.0:
                graph.add(self._factor(each, weight))
        return graph

    def _factor(self, each: Measurement, weight: float = 1.0) -> Any:
        covariance = each.noise.covariance()[np.ix_(TO_GTSAM, TO_GTSAM)] / weight
        noise = self.gtsam.noiseModel.Gaussian.Covariance(covariance)
        if isinstance(each, SubmapAnchor):
            return self.gtsam.PriorFactorSimilarity3(each.submap, self._similarity(each.world_from_submap), noise)
        measured = self._similarity(each.first_from_second)
        return self.gtsam.BetweenFactorSimilarity3(each.first, each.second, measured, noise)

    def _holding(self, weights: Array) -> list[Any]:
        """Priors on the oldest submap of every part that is connected by what counts."""
        counting = [each for each, weight in zip(self.measurements, weights.tolist(), strict=True) if weight > 0]
        whole = parts(list(self.places), [each for each in counting if isinstance(each, SubmapEdge)])
        anchored = {whole[each.key.first] for each in counting if each.key.kind == ANCHOR}
        noises = {
            is_anchored: self.gtsam.noiseModel.Isotropic.Sigma(7, LOOSELY_HELD if is_anchored else HELD)
            for is_anchored in (False, True)
        }
        return [
            self.gtsam.PriorFactorSimilarity3(submap, self._similarity(self.places[submap]), noises[submap in anchored])
            for submap in sorted(set(whole.values()))
        ]

    def _similarity(self, place: Sim3) -> gtsam.Similarity3:
        """GTSAM's acts as ``scale (rotation x + translation)``."""
        rotation = self.gtsam.Rot3(place.rotation)
        return self.gtsam.Similarity3(rotation, place.translation / place.scale, place.scale)

    def _sim3(self, similarity: gtsam.Similarity3) -> Sim3:
        # Many products of rotations leave the rotations by rounding; the nearest one is meant.
        left, _, right = np.linalg.svd(similarity.rotation().matrix())
        scale = float(similarity.scale())
        return Sim3(scale, left @ right, scale * np.asarray(similarity.translation()))
