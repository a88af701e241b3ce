"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the place of ``path`` when the block ends without an error.

    A reader sees the old file or the new one, also after a crash.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _beside(path)
    try:
        yield draft
        _flush(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Like ``replacing_file`` for a folder, which exists and is empty when the block begins.

    An old folder is moved aside for the moment of the exchange, and back should that fail.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft, old = _beside(path), _beside(path)
    draft.mkdir()
    try:
        yield draft
        for file in draft.iterdir():
            _flush(file)
        if path.exists():
            path.rename(old)
        try:
            draft.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A hidden name in the same folder, hence on the same file system, that nobody else uses."""
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}"


def _flush(path: Path) -> None:
    """Force a file to the disk, so that the new name never points to an empty file after a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
