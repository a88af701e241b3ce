"""Snapshots of the session, copied between two frames and written by a thread of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from spann3r_ros.complaints import EVENT, Complaints, Severity, reason
from spann3r_ros.errors import ConfigError, MemoryMismatchError
from spann3r_ros.mapping.map_state import MapState
from spann3r_ros.mapping.recovery import SnapshotFolder
from spann3r_ros.mapping.storage import SavedMap
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.saved_world import ReconstructionCopy

KIND = "snapshots"
PATIENCE = 10.0
"""Seconds that the end of a session waits for a snapshot that is being written."""


@dataclass(frozen=True)
class SnapshotFigures:
    """How snapshots do.

    Attributes:
        path: of the last one; empty before the first.
        written: how many were.
        written_at: monotonic seconds of the last one; NaN before.
        failed: how many could not be.
        held_up: seconds that the last copy held up the stream; NaN before the first.
        longest: the longest of them.
        writing: seconds that the last one took to be written, while the stream went on.
    """

    path: str = ""
    written: int = 0
    written_at: float = float("nan")
    failed: int = 0
    held_up: float = float("nan")
    longest: float = 0.0
    writing: float = float("nan")


class Snapshots:
    """Takes them and brings one back.

    Args:
        folder: where they lie.
        complaints: where it is said that one could not be written or is not whole.
        log: takes what is no trouble.

    Attributes:
        figures: replaced as a whole, so that any thread may read them.
    """

    def __init__(self, folder: SnapshotFolder, complaints: Complaints, log: Callable[[str], object]) -> None:
        self.folder, self._complaints, self._log = folder, complaints, log
        self.figures = SnapshotFigures()
        self._thread: threading.Thread | None = None
        self._state: MapState | None = None  # of the last copy, which shares what did not change with the next
        self._revision = -1  # of the map in the last copy that was written, or is being

    @property
    def busy(self) -> bool:
        """Whether one is being written."""
        return self._thread is not None and self._thread.is_alive()

    def take(self, reconstruction: Reconstruction) -> None:
        """Copy what the reconstruction holds, and let a thread write it; nothing when nothing changed.

        Called where nobody else touches the reconstruction.
        """
        world = reconstruction.map
        if self.busy or not len(world) or world.revision == self._revision:
            return
        begin = time.monotonic()
        copy = reconstruction.copied(self._state)
        held_up = time.monotonic() - begin
        self._state, self._revision = copy.map, world.revision
        self.figures = replace(self.figures, held_up=held_up, longest=max(held_up, self.figures.longest))
        self._thread = threading.Thread(target=self._write, args=(copy,), name="snapshots", daemon=True)
        self._thread.start()

    def resume(self, load: Callable[..., SavedMap]) -> SavedMap | None:
        """Go on from the newest whole snapshot; None when there is none.

        Raises:
            ConfigError: another node writes to the folder, or the snapshot is of another network.
        """
        try:
            self.folder.lock()
        except OSError as error:  # read-only: nobody writes there, and it can still be read
            self._complain(f"no snapshot can be written to {self.folder.path}: {reason(error)}", error)
        try:
            loaded = self.folder.newest(load, lambda text: self._complain(text, lasts=EVENT))
        except MemoryMismatchError as error:
            self.folder.close()
            raise ConfigError(
                f"resume from {self.folder.path}",
                got=error,
                next_step="Set model and checkpoint to those of the snapshot, another snapshot_folder, or resume to "
                "false, which begins a new world",
            ) from error
        if loaded is None:
            self._log(f"resume: there is no whole snapshot in {self.folder.path}, so a new world begins")
            return None
        self._log(f"resumed from {loaded.path}: {loaded.points} points, {loaded.frames} poses; the map continues")
        return loaded

    def finish(self, reconstruction: Reconstruction) -> None:
        """The last one, of what came since the one before, when no more frames will come."""
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self.take(reconstruction)

    def close(self) -> None:
        """End the one that is being written; let others write there."""
        thread = self._thread
        if thread is not None:
            thread.join(PATIENCE)
        if not self.busy:
            self.folder.close()
        self._state = None
        self._complaints.settle(KIND)

    def _write(self, copy: ReconstructionCopy) -> None:
        begin = time.monotonic()
        try:
            saved = self.folder.write(copy.write)
        except Exception as error:  # whatever a disk does, the node goes on
            self._revision = -1
            self.figures = replace(self.figures, failed=self.figures.failed + 1)
            last = f"{self.figures.path} stays" if self.figures.path else "older ones stay"
            self._complain(
                f"no snapshot could be written to {self.folder.path}: {reason(error)}. The map goes on, and {last}. "
                "Make room or give rights there, or set snapshot_period to 0",
                error,
            )
            return
        now = time.monotonic()
        self.figures = replace(
            self.figures, path=str(saved.path), written=self.figures.written + 1, written_at=now, writing=now - begin
        )
        self._complaints.settle(KIND, f"snapshots are written again: {saved.path}")

    def _complain(self, text: str, error: BaseException | None = None, lasts: float = float("inf")) -> None:
        known = error if not isinstance(error, OSError) else None
        self._complaints.report(KIND, text, Severity.ERROR, known, lasts)
