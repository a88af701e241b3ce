"""A graph of similarities between chunks, made consistent by the method of Levenberg and Marquardt.

VGGT-Long (Deng et al., arXiv 2507.16443), section 3.4: all edges weigh alike and no chunk is held, since only what lies
between chunks is asked for. The unknowns are the logarithms of the inverse poses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import spsolve

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.sim3_algebra import adjoint, left_jacobian, left_jacobian_inverse, sim3_exp, sim3_log
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]

GOOD_COST, SLOW_GAIN, LOOK_BACK = 1e-5, 1.5, 5
"""Below this cost the iterations end once so many of them lowered it less than by this factor."""


class GraphEdge(NamedTuple):
    """A measurement: ``second_from_first``, numbers of two chunks."""

    first: int
    second: int
    second_from_first: Sim3


@dataclass(frozen=True, eq=False)
class Linearization:
    """The edges at a point.

    Attributes:
        residuals: (E, 7) logarithms of what the measurements and the unknowns disagree by.
        by_first, by_second: (E, 7, 7) derivatives by the unknowns of an edge's first and second chunk.
    """

    residuals: Array
    by_first: Array
    by_second: Array


@dataclass(frozen=True, eq=False)
class GraphSolution:
    """What came of it.

    Attributes:
        steps: for neighbors, the corrected ``chunk_k_from_chunk_k+1``.
        costs: mean squared residual before each iteration.
    """

    steps: list[Sim3]
    costs: list[float]


def accumulated(steps: Sequence[Sim3]) -> list[Sim3]:
    """``first_from_chunk`` of every chunk from the steps between neighbors; the first is the identity."""
    poses = [Sim3()]
    for step in steps:
        poses.append(poses[-1] @ step)
    return poses


def optimized(
    steps: Sequence[Sim3], loops: Sequence[GraphEdge], iterations: int = 30, damping: float = 1e-6
) -> GraphSolution:
    """Steps between neighboring chunks that agree best with themselves and the loops.

    Args:
        steps: ``chunk_k_from_chunk_k+1`` as measured.
        loops: further measurements; without any nothing is changed.
        iterations: at most so many.
        damping: of the first one; halved after a step that lowers the cost, else doubled.

    Raises:
        GeometryError: a loop of chunks that do not exist.
    """
    wrong = [loop[:2] for loop in loops if loop.first == loop.second or not all(0 <= n <= len(steps) for n in loop[:2])]
    if wrong:
        raise GeometryError("chunks of a loop", got=wrong[0], expected=f"two different ones of 0 .. {len(steps)}")
    if not loops:
        return GraphSolution(list(steps), [])
    edges = graph_edges(steps, loops)
    unknowns = first_unknowns(steps)
    costs: list[float] = []
    at = linearized(edges, unknowns)
    cost = float(np.mean(at.residuals**2))
    for iteration in range(iterations):
        costs.append(cost)
        recent = costs[-LOOK_BACK:]
        if cost < GOOD_COST and iteration >= LOOK_BACK - 1 and (cost == 0 or recent[0] / cost < SLOW_GAIN):
            break
        trial = unknowns + marquardt_step(edges, at, len(unknowns), damping)
        there = linearized(edges, trial)
        there_cost = float(np.mean(there.residuals**2))
        if there_cost < cost:
            unknowns, at, cost, damping = trial, there, there_cost, damping / 2
        else:
            damping *= 2
    poses = [sim3_exp(vector).inverse() for vector in unknowns]
    return GraphSolution([one.inverse() @ other for one, other in pairwise(poses)], costs)


def graph_edges(steps: Sequence[Sim3], loops: Sequence[GraphEdge]) -> list[GraphEdge]:
    """Those between neighbors, then the loops."""
    return [*(GraphEdge(number + 1, number, step) for number, step in enumerate(steps)), *loops]


def first_unknowns(steps: Sequence[Sim3]) -> Array:
    """(K, 7) logarithms of ``chunk_from_first``, by the steps alone."""
    return np.stack([sim3_log(pose.inverse()) for pose in accumulated(steps)])


def linearized(edges: Sequence[GraphEdge], unknowns: Array) -> Linearization:
    """Residuals of the edges and their derivatives, by the series of ``sim3_algebra``."""
    transforms = [sim3_exp(vector) for vector in unknowns]
    spread = [left_jacobian(vector) for vector in unknowns]
    residuals, by_first, by_second = [], [], []
    for first, second, second_from_first in edges:
        chained = second_from_first @ transforms[first]
        residual = sim3_log(chained @ transforms[second].inverse())
        inverse = left_jacobian_inverse(residual)
        residuals.append(residual)
        by_first.append(inverse @ adjoint(second_from_first) @ spread[first])
        by_second.append(-inverse @ adjoint(chained) @ adjoint(transforms[second].inverse()) @ spread[second])
    return Linearization(np.stack(residuals), np.stack(by_first), np.stack(by_second))


def marquardt_step(edges: Sequence[GraphEdge], at: Linearization, chunks: int, damping: float) -> Array:
    """(K, 7) change of the unknowns: ``(J^T J + damping diag(J^T J)) step = -J^T r``, sparse."""
    jacobian = _jacobian(edges, at, chunks)
    normal = (jacobian.T @ jacobian).tocsc()
    damped = normal + damping * diags(normal.diagonal())
    step: Array = spsolve(damped.tocsc(), -(jacobian.T @ at.residuals.ravel()))
    return step.reshape(chunks, 7)


def _jacobian(edges: Sequence[GraphEdge], at: Linearization, chunks: int) -> csr_matrix:
    """(7 E, 7 K)."""
    count = len(edges)
    rows = np.broadcast_to(np.arange(7 * count).reshape(count, 7, 1), (count, 7, 7))
    blocks, columns = [], []
    for derivative, chunk in ((at.by_first, 0), (at.by_second, 1)):
        begin = 7 * np.array([edge[chunk] for edge in edges])
        blocks.append(derivative.ravel())
        columns.append(np.broadcast_to(begin[:, None, None] + np.arange(7), (count, 7, 7)).ravel())
    places = (np.tile(rows.ravel(), 2), np.concatenate(columns))
    return coo_matrix((np.concatenate(blocks), places), shape=(7 * count, 7 * chunks)).tocsr()
