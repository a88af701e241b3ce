"""Fast reciprocal matching of two maps of descriptors (MASt3R, section 3.3).

From a sparse grid of pixels of the first image it goes to the nearest neighbor in the second, back, and again, until
a pair maps onto itself. Pixels are counted in reading order: y * width + x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spann3r_ros.errors import ConfigError, GeometryError

MOST_ROUNDS = 10
"""Pixels that still move after so many round trips are dropped."""

BLOCK = 1 << 24
"""Similarities that are held at once (64 MB)."""

Nearest = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class PixelMatches:
    """Pixels that show the same thing.

    Attributes:
        first, second: (N, 2) int64 (x, y) in the two images; sorted by the pixel of the first, no pair twice.
        confidence: (N,) float32 > 0, or None where nobody gave one.
    """

    first: Tensor
    second: Tensor
    confidence: Tensor | None = None

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, eq=False)
class DescriptorMap:
    """What matches one image.

    Attributes:
        vectors: (H, W, D) of unit length.
        confidence: (H, W) > 0.
    """

    vectors: Tensor
    confidence: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.vectors.shape[1], self.vectors.shape[0]


def nearest_by_dot(queries: Tensor, database: Tensor) -> Tensor:
    """Index (N,) of the database row (M, D) of largest inner product with each query (N, D); the first of equals."""
    rows = max(1, BLOCK // len(database))
    return torch.cat([(block @ database.T).argmax(dim=1) for block in torch.split(queries, rows)])


def nearest_by_distance(queries: Tensor, database: Tensor) -> Tensor:
    """Index (N,) of the database row (M, D) nearest to each query (N, D); the first of equals."""
    rows = max(1, BLOCK // len(database))
    return torch.cat([torch.cdist(block, database).argmin(dim=1) for block in torch.split(queries, rows)])


def grid_pixels(width: int, height: int, step: int, device: torch.device | None = None) -> Tensor:
    """Linear indices (N,) int64 of every ``step``-th pixel in both directions, from ``step // 2`` on."""
    if step < 1:
        raise ConfigError("step of the grid that matching begins from", got=step, expected=">= 1 px")
    y, x = (torch.arange(min(step // 2, side), side, step, device=device) for side in (height, width))
    return (y[:, None] * width + x).flatten()


def reciprocal_indices(
    a: Tensor,
    b: Tensor,
    start: Tensor,
    *,
    rounds: int = MOST_ROUNDS,
    tolerance: float = 0.0,
    nearest: Nearest = nearest_by_dot,
    basin: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Linear indices of matching pixels, both (N,) int64, sorted and without repetitions.

    Args:
        a: (H1, W1, D) descriptors of the first image.
        b: (H2, W2, D) of the second.
        start: (S,) linear indices in the first image.
        rounds: most round trips.
        tolerance: 0 keeps the pairs that map onto themselves; else the pixels whose last round trip ended nearer than
            so many pixels to where it began, and where it began is what is returned.
        nearest: which neighbor is the nearest.
        basin: (H1 * W1 + 1,) integers, filled in place with the pixel that each visited pixel led to; or None.
    """
    if a.ndim != 3 or b.ndim != 3 or a.shape[2] != b.shape[2]:
        raise GeometryError("maps of descriptors to match", got=(a.shape, b.shape), expected="(H, W, D), one D")
    width, rows_a, rows_b = a.shape[1], a.flatten(0, 1), b.flatten(0, 1)
    here = torch.unique(start)
    there = torch.full_like(here, -1)
    before_here, before_there = here.clone(), there.clone()
    active = torch.ones_like(here, dtype=torch.bool)
    for number in range(1, rounds + 1):
        there[active] = nearest(rows_a[here[active]], rows_b)
        if basin is None:
            active &= before_there != there
        here[active] = nearest(rows_b[there[active]], rows_a)
        if basin is not None:
            basin[before_here[active]] = here[active].to(basin.dtype)
        active &= before_here != here
        if number == rounds or not bool(active.any()):
            break
        before_here, before_there = here.clone(), there.clone()
    if tolerance > 0:
        steps = torch.stack([before_here % width - here % width, before_here // width - here // width])
        kept = steps.double().norm(dim=0) < tolerance
        here = before_here
    else:
        kept = ~active
    return merged_indices(here[kept], there[kept], len(rows_b))[:2]


def merged_indices(first: Tensor, second: Tensor, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs sorted by first then second, each once, and which of the given ones was the first of its kind."""
    key = first * pixels + second
    order = key.argsort(stable=True)
    key = key[order]
    new = torch.ones_like(key, dtype=torch.bool)
    new[1:] = key[1:] != key[:-1]
    kept = order[new]
    return first[kept], second[kept], kept


def _pixels(index: Tensor, width: int) -> Tensor:
    return torch.stack([index % width, index // width], dim=1)


def match(
    a: Tensor,
    b: Tensor,
    step: int = 8,
    *,
    start: Tensor | None = None,
    tolerance: float = 0.0,
    nearest: Nearest = nearest_by_dot,
) -> PixelMatches:
    """Matches of two maps of descriptors (H, W, D).

    Args:
        a, b: of unit length, on one device.
        step: of the grid of pixels of the first image that it begins from.
        start: linear indices to begin from instead; then a single round trip decides.
        tolerance: pixels by which a single round trip may miss its beginning.
        nearest: which neighbor is the nearest.
    """
    single = start is not None or tolerance > 0
    if start is None:
        start = grid_pixels(a.shape[1], a.shape[0], step, a.device)
    rounds = 1 if single else MOST_ROUNDS
    first, second = reciprocal_indices(a, b, start, rounds=rounds, tolerance=tolerance, nearest=nearest)
    return PixelMatches(_pixels(first, a.shape[1]), _pixels(second, b.shape[1]))


def inside(matches: PixelMatches, size_a: tuple[int, int], size_b: tuple[int, int], border: int = 3) -> Tensor:
    """Which matches (N,) keep ``border`` pixels from the edges of both images of (width, height)."""
    kept = torch.ones(len(matches), dtype=torch.bool, device=matches.first.device)
    for pixels, size in ((matches.first, size_a), (matches.second, size_b)):
        limit = torch.tensor(size, device=pixels.device) - border
        kept &= ((pixels >= border) & (pixels < limit)).all(dim=1)
    return kept


def match_both_ways(a: DescriptorMap, b: DescriptorMap, step: int = 8, tolerance: float = 0.0) -> PixelMatches:
    """Matches of one decoding, begun from both images; confidence is the smaller one of the two descriptors'."""
    first, second, found = _found_both_ways(a, b, step, tolerance)
    return _confident([(first, second, torch.minimum(*found))], a, b)


def match_symmetric(
    first_pass: tuple[DescriptorMap, DescriptorMap], second_pass: tuple[DescriptorMap, DescriptorMap], step: int = 8
) -> PixelMatches:
    """Matches of two images from both decodings, begun from both images.

    Args:
        first_pass: descriptors of the two images, decoded as (a, b).
        second_pass: of the two images in the same order, decoded as (b, a).
        step: of the grids.

    Returns:
        Matches whose confidence is the geometric mean of the two descriptors'.
    """
    parts = []
    for a, b in (first_pass, second_pass):
        first, second, (one, other) = _found_both_ways(a, b, step, 0.0)
        parts.append((first, second, (one * other).sqrt()))
    return _confident(parts, *first_pass)


def _found_both_ways(
    a: DescriptorMap, b: DescriptorMap, step: int, tolerance: float
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Linear indices from both directions, the first image's grid first, and the two confidences of each."""
    rounds = 1 if tolerance > 0 else MOST_ROUNDS
    forth = reciprocal_indices(
        a.vectors, b.vectors, grid_pixels(*a.size, step, a.vectors.device), rounds=rounds, tolerance=tolerance
    )
    back = reciprocal_indices(
        b.vectors, a.vectors, grid_pixels(*b.size, step, b.vectors.device), rounds=rounds, tolerance=tolerance
    )
    first, second = torch.cat([forth[0], back[1]]), torch.cat([forth[1], back[0]])
    return first, second, (a.confidence.flatten()[first], b.confidence.flatten()[second])


def _confident(parts: list[tuple[Tensor, Tensor, Tensor]], a: DescriptorMap, b: DescriptorMap) -> PixelMatches:
    first, second, confidence = (torch.cat([part[number] for part in parts]) for number in range(3))
    first, second, kept = merged_indices(first, second, b.size[0] * b.size[1])
    return PixelMatches(_pixels(first, a.size[0]), _pixels(second, b.size[0]), confidence[kept])
