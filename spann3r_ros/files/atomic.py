"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from spann3r_ros.errors import DataError

logger = logging.getLogger(__name__)

DRAFT, OLD = "draft", "old"


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the place of ``path`` when the block ends without an error.

    A reader sees the old file or the new one, also after a crash.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _beside(path, DRAFT)
    try:
        yield draft
        _flush(draft)
        draft.replace(path)
        _flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, own: Collection[str]) -> Iterator[Path]:
    """Like ``replacing_file`` for a folder of files, which exists and is empty when the block begins.

    An old folder is moved aside for the moment of the exchange, and back should that fail. Should the process or the
    machine die in that moment, ``restore_folder`` finds what is whole.

    Args:
        path: the folder.
        own: the names of all files that such a folder may hold. Nothing else is ever deleted.

    Raises:
        DataError: something else is in the way: a link, a file, a device, or a folder with other files in it.
    """
    require_own(path, own)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft, old = _beside(path, DRAFT), _beside(path, OLD)
    draft.mkdir()
    try:
        yield draft
        for file in draft.iterdir():
            _flush(file)
        _flush(draft)
        require_own(path, own)
        if path.exists():
            path.rename(old)
        try:
            draft.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        _flush(path.parent)
    finally:
        _remove(draft, own)
        _remove(old, own)


def require_own(path: Path, own: Collection[str]) -> None:
    """Raise DataError unless ``path`` is free, or a folder with no other files than ``own``."""
    hint = "Choose another name"
    if path.is_symlink():
        raise DataError(f"{path} is a link", got=f"to {path.readlink()}", expected="a folder", next_step=hint)
    if not path.exists():
        return
    if not path.is_dir():
        raise DataError(f"{path} exists and is no folder", expected="a new name or an older folder", next_step=hint)
    foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in own or not _is_plain(entry))
    if foreign:
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        raise DataError(
            f"{path} holds what was not written by this package, and nothing of it is deleted",
            got=", ".join(foreign[:5]) + more,
            expected=f"a new name, or no more than {', '.join(own)}",
            next_step=f"{hint}, or move these files away",
        )


def restore_folder(path: Path, is_whole: Callable[[Path], bool]) -> bool:
    """Give ``path`` back what an exchange that was cut off has left beside it: the new folder when whole, else the old.

    Args:
        path: the folder; nothing happens when it exists.
        is_whole: whether a folder holds all that it should.

    Returns:
        Whether something was restored.
    """
    if path.exists() or path.is_symlink() or not path.parent.is_dir():
        return False
    for kind in (DRAFT, OLD):
        pattern = re.compile(re.escape(f".{path.name}.") + rf"[0-9a-f]{{8}}\.{kind}")
        left = [entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name) and entry.is_dir()]
        for folder in sorted(left, key=lambda entry: entry.stat().st_mtime_ns, reverse=True):
            if is_whole(folder):
                folder.rename(path)
                _flush(path.parent)
                logger.warning("%s was being replaced when the program or the machine stopped: restored", path)
                return True
    return False


def discard_drafts(parent: Path, name: str, own: Collection[str]) -> None:
    """Delete what exchanges of folders that were cut off have left, when nobody else writes there.

    Args:
        parent: where the folders lie.
        name: regular expression of their names.
        own: the names of all files that such a folder may hold; one with others in it is left.
    """
    pattern = re.compile(rf"\.{name}\.[0-9a-f]{{8}}\.({DRAFT}|{OLD})")
    for entry in sorted(parent.iterdir()):
        if pattern.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
            _remove(entry, own)


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _beside(path: Path, kind: str) -> Path:
    """A hidden name in the same folder, hence on the same file system, that nobody else uses."""
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.{kind}"


def _remove(folder: Path, own: Collection[str]) -> None:
    """Delete a folder of ours, unless something else is in it."""
    if not folder.is_dir():
        return
    for name in own:
        (folder / name).unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError as error:
        logger.warning("%s is left: %s", folder, error)


def _flush(path: Path) -> None:
    """Force a file or a folder's names to the disk, so that no new name points to an empty file after a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
