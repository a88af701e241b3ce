"""A map on disk: a folder with the cloud and the path for people and the exact state for continuing.

map.ply              the points that are published, in the world frame (not in a snapshot)
trajectory.txt       all poses in TUM's format (not in a snapshot)
state.npz            the submaps, bit for bit
memory.safetensors   the model's memory (only when there is one)
manifest.json        versions, sizes and checksums
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros import __version__
from spann3r_ros.config import MapConfig
from spann3r_ros.errors import DataError
from spann3r_ros.files.arrays import DAMAGE, open_arrays
from spann3r_ros.files.atomic import replacing_folder, require_own, restore_folder
from spann3r_ros.files.checksum import sha256
from spann3r_ros.files.location import kind_of
from spann3r_ros.files.ply import read_ply, write_ply
from spann3r_ros.files.tum import read_trajectory, write_trajectory
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.map_state import READABLE, VERSION, MapState, map_from_arrays

__all__ = ["SavedMap", "read_map", "read_ply", "read_trajectory", "write_map", "write_ply", "write_trajectory"]

FORMAT = "spann3r_ros map"
CLOUD, TRAJECTORY, STATE, MEMORY, MANIFEST = (
    "map.ply",
    "trajectory.txt",
    "state.npz",
    "memory.safetensors",
    "manifest.json",
)
CORRECTOR = "corrector"
"""How names of arrays in ``state.npz`` begin that belong to a corrector."""

OWN = (CLOUD, TRAJECTORY, STATE, MEMORY, MANIFEST)
WORLD_AXES = "world frame: x forward, y left, z up"


@dataclass(frozen=True)
class SavedMap:
    """What lies in a folder.

    Attributes:
        path: the folder.
        files: its files, the manifest last.
        points: number of points in the cloud.
        frames: number of camera poses.
        memory: the model's memory, one of the files, or None when there is none.
        notes: what the writer noted besides, such as the model's name.
        correctors: state of each corrector, as arrays by name.
    """

    path: Path
    files: list[Path]
    points: int
    frames: int
    memory: Path | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    correctors: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)


def write_map(
    path: Path,
    world: Map | MapState,
    *,
    save_memory: Callable[[Path], None] | None = None,
    notes: Mapping[str, str] | None = None,
    correctors: Mapping[str, Mapping[str, NDArray[Any]]] | None = None,
) -> SavedMap:
    """Write a map and, with it, the memory that can continue it. The folder appears complete or not at all.

    Args:
        path: the folder; an older map there is replaced, anything else is refused and left as it is.
        world: the map, or its state at one moment, which is written without the cloud and the path for people.
        save_memory: writes the model's memory to the path that it is given.
        notes: short texts kept in the manifest.
        correctors: state of each corrector, as arrays by name.

    Raises:
        DataError: ``path`` exists and is no map of ours, or holds other files.
    """
    restore_folder(path, _is_whole)
    _require_map_or_nothing(path)
    state = MapState.of(world) if isinstance(world, Map) else world
    cloud = world.cloud() if isinstance(world, Map) else None
    with replacing_folder(path, OWN) as draft:
        if isinstance(world, Map) and cloud is not None:
            write_ply(draft / CLOUD, cloud, [WORLD_AXES])
            write_trajectory(draft / TRAJECTORY, world.trajectory())
        np.savez(draft / STATE, **state.arrays(), **_flat(correctors or {}))  # type: ignore[arg-type]  # the stubs take the keys for flags
        if save_memory is not None:
            save_memory(draft / MEMORY)
        names = [name for name in (CLOUD, TRAJECTORY, STATE, MEMORY) if (draft / name).exists()]
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "package": __version__,
            "numpy": np.__version__,
            "world": WORLD_AXES,
            "points": state.points if cloud is None else len(cloud),
            "poses": state.frames,
            "notes": dict(notes or {}),
            "files": {name: {"bytes": (draft / name).stat().st_size, "sha256": sha256(draft / name)} for name in names},
        }
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return _saved(path, manifest)


def read_map(path: Path, config: MapConfig) -> tuple[Map, SavedMap]:
    """A new map with the content of a folder, and what else lies there; the caller reads the memory file.

    The sizes are those of ``config``: another voxel size sorts the points anew, a smaller ``max_points`` keeps the
    points seen last.

    Raises:
        DataError: no map there, one of a later version, or files that are missing, changed or damaged.
    """
    restore_folder(path, _is_whole)
    manifest = _read_manifest(path)
    for name, expected in manifest["files"].items():
        _check(path / name, expected)
    try:
        with open_arrays(path / STATE) as state:
            world = map_from_arrays(state, config, manifest["version"])
            correctors = _nested(state)
    except DAMAGE as error:
        raise DataError(f"state of the map {path} ({error})", expected="a state.npz of this package") from error
    return world, dataclasses.replace(_saved(path, manifest), correctors=correctors)


def delete_map(path: Path) -> None:
    """Delete a saved map; raises DataError when somebody put something into it, and leaves it then."""
    require_own(path, OWN)
    for name in OWN:
        (path / name).unlink(missing_ok=True)
    path.rmdir()


def _flat(correctors: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {f"{CORRECTOR}.{name}.{key}": array for name, state in correctors.items() for key, array in state.items()}


def _nested(state: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    """What ``_flat`` made one level of."""
    correctors: dict[str, dict[str, NDArray[Any]]] = {}
    for entry in state:
        kind, *rest = entry.split(".", 2)
        if kind == CORRECTOR and len(rest) == 2:
            correctors.setdefault(rest[0], {})[rest[1]] = state[entry]
    return correctors


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest, its keys checked; raises DataError."""
    what = kind_of(path / MANIFEST)
    if what not in ("a file", "nothing"):
        raise DataError(f"{path / MANIFEST} is {what}", expected="the file that was written with the map")
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"no saved map in {path}",
            expected=f"a folder with {MANIFEST}",
            next_step="Give the folder that was named when the map was saved",
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"{path / MANIFEST} is not about a map", expected=f"format '{FORMAT}'")
    if manifest.get("version") not in READABLE:
        raise DataError(
            f"version of the map {path}",
            got=manifest.get("version"),
            expected=" | ".join(map(str, READABLE)),
            next_step=f"It was written by spann3r_ros {manifest.get('package')}: use that version",
        )
    files, known = manifest.get("files"), {CLOUD, TRAJECTORY, STATE, MEMORY}
    counts = (manifest.get("points"), manifest.get("poses"))
    if not isinstance(files, dict) or not {STATE} <= set(files) <= known or not all(map(_is_count, counts)):
        raise DataError(f"{path / MANIFEST} is incomplete", expected="files, points and poses")
    notes = manifest.get("notes", {})
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise DataError(f"notes in {path / MANIFEST}", got=notes, expected="texts by name")
    return manifest


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**40


def _check(file: Path, expected: Any) -> None:
    """Raises DataError when a file is not the one that the manifest describes."""
    if not file.is_file():
        raise DataError(f"{file} is missing", next_step="Copy the folder again, with all its files")
    found = {"bytes": file.stat().st_size}
    if (
        not isinstance(expected, dict)
        or found["bytes"] != expected.get("bytes")
        or sha256(file) != expected.get("sha256")
    ):
        raise DataError(
            f"{file} is not as it was written",
            got=f"{found['bytes']} bytes",
            expected=f"the size and checksum in {MANIFEST}",
            next_step="The file is damaged or was changed: take the map from a backup",
        )


def _require_map_or_nothing(path: Path) -> None:
    """Raise DataError unless there is nothing at the path, an empty folder, or a map of ours."""
    if not path.is_symlink() and (not path.exists() or (path.is_dir() and not any(path.iterdir()))):
        return
    if path.is_dir() and not path.is_symlink() and (path / MANIFEST).is_file():
        try:
            manifest = json.loads((path / MANIFEST).read_text())
        except (OSError, ValueError, RecursionError):
            manifest = None
        if isinstance(manifest, dict) and manifest.get("format") == FORMAT:
            require_own(path, OWN)
            return
    raise DataError(
        f"{path} exists and is no saved map", expected="a new name or an older map", next_step="Choose another name"
    )


def _is_whole(path: Path) -> bool:
    """Whether a folder holds a complete map, to the last byte."""
    try:
        for name, expected in _read_manifest(path)["files"].items():
            _check(path / name, expected)
    except DataError:
        return False
    return True


def _saved(path: Path, manifest: Mapping[str, Any]) -> SavedMap:
    files = [path / name for name in manifest["files"]] + [path / MANIFEST]
    memory = path / MEMORY if MEMORY in manifest["files"] else None
    return SavedMap(path, files, manifest["points"], manifest["poses"], memory, manifest.get("notes", {}))
