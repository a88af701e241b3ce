"""Snapshots of a running reconstruction in one folder: the newest two, by one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.files.atomic import discard_drafts
from spann3r_ros.mapping.storage import OWN, SavedMap, delete_map

NAME = r"snapshot_(\d{6,12})"
"""A snapshot is called after its number, which grows: a clock may be set back."""

KEPT = 2
LOCK = "writer.lock"


class SnapshotFolder:
    """A folder of snapshots, each a saved map. Not thread-safe.

    Args:
        path: the folder; made with the first snapshot.
        owner: who writes, for others that want to.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self.path, self._owner = path, owner
        self._lock: IO[str] | None = None
        self._damaged: set[Path] = set()

    def found(self) -> list[Path]:
        """All snapshots, the newest first; whether they are whole is not looked at."""
        try:
            entries = [entry for entry in self.path.iterdir() if re.fullmatch(NAME, entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(entries, key=_number, reverse=True)

    def lock(self) -> None:
        """Become the one writer, until ``close`` or the end of the process, however it ends.

        Raises:
            ConfigError: somebody else is; got says who.
            OSError: the folder cannot be written.
        """
        if self._lock is not None:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        lock = (self.path / LOCK).open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            other = lock.read(200)
            lock.close()
            raise ConfigError(
                f"snapshot_folder {self.path} has another writer",
                got=other or error,
                expected="a folder for each node",
                next_step="Stop the other one, or set snapshot_folder to another folder",
            ) from error
        with contextlib.suppress(OSError):  # on a full disk nobody learns who has it, and that is all
            lock.truncate(0)
            lock.write(f"{self._owner}, process {os.getpid()}")
            lock.flush()
        self._lock = lock
        discard_drafts(self.path, NAME, OWN)

    def write(self, save: Callable[[Path], SavedMap]) -> SavedMap:
        """One more snapshot; then all but the newest two whole ones are deleted.

        Raises:
            ConfigError: as of ``lock``.
            OSError, DataError: what ``save`` raises, for instance on a full disk; the older ones stay.
        """
        self.lock()
        found = self.found()
        number = 1 + max((_number(path) for path in found), default=0)
        saved = save(self.path / f"snapshot_{number:06d}")
        whole = [path for path in found if path not in self._damaged]
        for old in [*whole[KEPT - 1 :], *self._damaged]:
            with contextlib.suppress(OSError, DataError):  # what cannot be deleted is tried again next time
                delete_map(old)
                self._damaged.discard(old)
        return saved

    def newest(self, load: Callable[[Path], SavedMap], tell: Callable[[str], None]) -> SavedMap | None:
        """The newest snapshot that can be loaded; None when there is none.

        Args:
            load: raises DataError for one that is torn or damaged: then the one before it is tried.
            tell: is told about each that is not used.

        Raises:
            MemoryMismatchError: what ``load`` raises for a whole snapshot of another network.
        """
        for path in self.found():
            try:
                return load(path)
            except (DataError, OSError) as error:
                self._damaged.add(path)
                tell(f"the snapshot {path} is not whole and not used: {error}")
        return None

    def close(self) -> None:
        """Let others write."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with contextlib.suppress(OSError):
                lock.truncate(0)
            lock.close()


def _number(path: Path) -> int:
    return int(path.name.rpartition("_")[2])
