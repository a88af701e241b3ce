"""Paths that came from outside: where they point, and what is there, found out without opening anything."""

from __future__ import annotations

import stat
from pathlib import Path

from spann3r_ros.errors import DataError, printable

LONGEST = 4096
"""Characters of a path; no system takes more."""

KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def location(path: str | Path) -> Path:
    """The absolute path, with ``~`` and ``~user`` spelled out.

    Raises:
        DataError: a text that is no path on this machine.
    """
    text = str(path)
    shown = repr(text) if len(text) <= 200 else f"{text[:200]!r}... ({len(text)} characters)"
    if not text or len(text) > LONGEST or "\0" in text:
        raise DataError("path", got=printable(shown), expected=f"1 to {LONGEST} characters, none of them a zero byte")
    try:
        return Path(text).expanduser().absolute()
    except (RuntimeError, OSError) as error:  # no such user, or a current folder that was deleted
        raise DataError("path", got=f"{printable(shown)} ({error})", next_step="Give an absolute path") from error


def kind_of(path: Path) -> str:
    """What is at a path, links followed: a file, a folder, a pipe, a device, a socket, or nothing.

    Opening a pipe waits for a writer, and a device may never end: who reads files asks first.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return "nothing"
    return next((name for is_kind, name in KINDS if is_kind(mode)), "something unknown")
