"""A grid of voxels at one moment, copied at the price of what changed since the copy before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.mapping.voxels import Voxels


class Moment(NamedTuple):
    """When a grid was copied.

    Attributes:
        epoch: number of its content; another one after it was cleared or sorted anew.
        change: as of the grid.
        revision: as of the grid.
        horizon: voxels that were last seen at this revision or before were forgotten.
    """

    epoch: int
    change: int
    revision: int
    horizon: int


class GridCopy:
    """What a grid knew at one moment. Made in the time that copying what changed takes; put together when it is read.

    Args:
        moment: when; an attribute, too.
        slots: (N,) places in the grid of ``changed``.
        changed: all voxels, or those that changed after the earlier copy.
        gone: places of which the voxel was cleared after the earlier copy.
        base: that copy.
    """

    def __init__(
        self,
        moment: Moment,
        slots: NDArray[np.int64],
        changed: Voxels,
        gone: NDArray[np.int64],
        base: GridCopy | None,
    ) -> None:
        self.moment = moment
        self._slots, self._voxels, self._gone, self._base = slots, changed, gone, base

    @property
    def changed(self) -> Voxels:
        """What was copied for it, until ``voxels`` is asked for."""
        return self._voxels

    def voxels(self) -> Voxels:
        """All, in no particular order; the earlier copy is not needed any more then. For one thread at a time."""
        base = self._base
        if base is not None:
            old = base.voxels()
            replaced = np.zeros(1 + max(map(_largest, (base._slots, self._slots, self._gone))), bool)
            replaced[self._slots] = replaced[self._gone] = True
            stays = np.flatnonzero((old.seen > self.moment.horizon) & ~replaced[base._slots])
            self._voxels = old.take(stays).joined(self._voxels)
            self._slots = np.concatenate([base._slots[stays], self._slots])
            self._base, self._gone = None, self._gone[:0]
        return self._voxels


def _largest(slots: NDArray[np.int64]) -> int:
    return int(slots.max()) if len(slots) else 0
