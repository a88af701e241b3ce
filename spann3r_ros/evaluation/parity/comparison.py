"""What a replay found: the worst error of every kind of tensor, and the decisions that differ."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass
class Comparison:
    """Worst error of one kind of tensor, relative to the recorded tensor's maximum, and where it occurred.

    Attributes:
        error: the worst one.
        place: the recorded tensor where it is.
        count: how many tensors were compared.
        allowed: the tolerance of this kind where it has one of its own, stated by the recording (results of an
            optimization, which amplifies rounding); None: that of the whole comparison.
    """

    error: float = 0.0
    place: str = ""
    count: int = 0
    allowed: float | None = None


@dataclass
class ParityReport:
    """What a replay found.

    Attributes:
        comparisons: by kind of tensor, in the order of the computation.
        disagreements: decisions that differ, in words.
        unknown: recorded names that nothing was compared with.
    """

    comparisons: dict[str, Comparison] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    def compare(self, kind: str, place: str, found: Tensor, recorded: Tensor, *, allowed: float | None = None) -> None:
        """Add one tensor; shapes that differ count as an infinite error, as does anything that is not finite.

        Args:
            kind: the row of the table that it belongs to.
            place: the recorded tensor's name.
            found: what our code computed.
            recorded: what the published code computed.
            allowed: the kind's own tolerance; beyond it the tensor is a disagreement.
        """
        entry = self.comparisons.setdefault(kind, Comparison(allowed=allowed))
        entry.count += 1
        error = relative_error(found, recorded)
        if not error <= entry.error:
            entry.error, entry.place = error, place
        if allowed is not None and not error <= allowed:
            self.disagreements.append(f"{place}: error {error:.3e}, the recording allows {allowed:g}")

    def decide(self, place: str, found: object, recorded: object) -> None:
        """Compare one decision."""
        if found != recorded:
            self.disagreements.append(f"{place}: {found}, recorded {recorded}")

    def worst(self) -> tuple[float, str]:
        """The largest error of a kind without a tolerance of its own, and the tensor where it is.

        Infinite when nothing was compared at all.
        """
        if not self.comparisons:
            return float("inf"), "nothing: the recording has no tensor to compare"
        bound = {kind: entry for kind, entry in self.comparisons.items() if entry.allowed is None}
        if not bound:
            return 0.0, "nothing: every kind has a tolerance of its own"
        kind = max(bound, key=lambda name: bound[name].error)
        return bound[kind].error, bound[kind].place or kind


def relative_error(found: Tensor, recorded: Tensor) -> float:
    """Largest difference over the recorded tensor's maximum; infinite for other shapes and for NaN."""
    if found.shape != recorded.shape:
        return float("inf")
    worst = (found.double() - recorded.double()).abs().max() if found.numel() else torch.zeros(())
    top = recorded.double().abs().max() if recorded.numel() else torch.ones(())
    # A tensor that is zero throughout has no scale: the error itself is the measure.
    error = float(worst / top) if top > 0 else float(worst)
    return error if np.isfinite(error) else float("inf")
