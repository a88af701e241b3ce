"""Saved maps of several sessions become one, where they know a common place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from spann3r_ros.errors import DataError, MemoryMismatchError
from spann3r_ros.mapping.relocalizing import keyframes_from
from spann3r_ros.mapping.storage import SavedMap, read_map
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.saved_world import places_of, require_network


def merge_all(reconstruction: Reconstruction, paths: Sequence[Path]) -> Iterator[SavedMap]:
    """Take in saved maps, each as soon as it is joined; one that comes later may know the way to one before it.

    Raises:
        DataError, MemoryMismatchError: as ``merge``, when none of those that are left can be joined.
    """
    waiting = list(paths)
    while waiting:
        left = []
        for path in waiting:
            try:
                saved = merge(reconstruction, path)
            except DataError as error:
                reason = error
                left.append(path)
            else:
                yield saved
        if len(left) == len(waiting):
            raise reason
        waiting = left


def merge(reconstruction: Reconstruction, path: Path) -> SavedMap:
    """Take in another saved map of the same network and unit, where both know the same place.

    Args:
        reconstruction: that began with a saved world (``begin_with``).
        path: folder of the other map.

    Raises:
        DataError, MemoryMismatchError: as ``Reconstruction.relocalize``, or a map of places that this one does not
            know; all stays as it was.
    """
    held, finder = reconstruction.map, reconstruction.finder
    assert finder is not None, "begin_with refuses to begin without one"
    world, saved = read_map(path, reconstruction.config.map)
    require_network(saved, world, reconstruction.model)
    if world.metric != held.metric:
        units = {True: "meters", False: "a unit that nobody knows"}
        raise MemoryMismatchError(
            f"unit of the map {path}", got=units[world.metric], expected=f"{units[held.metric]}, as the first"
        )
    first = 1 + max(submap.id for submap in held.submaps)
    held.adopt(world.submaps, first)
    for keyframe in finder.adopt(keyframes_from(places_of(saved)), first):
        reconstruction.move(finder.look_for(keyframe, held))
        if not reconstruction.is_relocalizing:
            return saved
    counts = finder.counts
    finder.drop(first)
    held.drop_apart()
    held.join()
    raise DataError(
        f"the map {path} is not joined: no place that both know was found",
        got=f"{counts.candidates} candidates, {counts.accepted} that fit",
        expected="two views of a place in both maps that agree",
        next_step="Record a session that goes through both, or lower loops.similarity",
    )
