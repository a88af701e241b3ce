"""The heap of the C library, where it is glibc: how many there are, and whether memory that was freed is kept.

Whoever starts the program decides first: what an environment variable of glibc says is left alone.
"""

from __future__ import annotations

import ctypes
import os

HEAPS = 2
"""Of the C library. By default there are up to eight a core, and DDS, the executor and PyTorch have 25 threads: each
keeping what it once held, they look like a leak."""

KEPT = 256 * 2**20
"""Bytes of freed memory that are kept. By default glibc soon gives back all but some 50 MB, and the system clears each
page anew when it is asked for again: 30,000 pages for one 224 x 224 image of a full-size network."""

LARGE = 32 * 2**20
"""Bytes of a piece that gets pages of its own, which are given back when it is freed: the most that all glibc allow."""

TUNABLES = "GLIBC_TUNABLES"
KEEPING = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", TUNABLES)
"""Environment variables that say how much is kept."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h


def limit_heaps() -> None:
    """Let all threads share ``HEAPS`` heaps; call it before they start."""
    library = _glibc()
    if library is not None and "MALLOC_ARENA_MAX" not in os.environ:
        library.mallopt(_M_ARENA_MAX, HEAPS)


def keep_freed_memory() -> bool:
    """Let the process keep ``KEPT`` bytes of what it frees, for the next image; whether it will.

    Call it when weights are loaded: what loading took is given back first.
    """
    library = _glibc()
    if library is None or any(os.environ.get(name) for name in KEEPING):
        return False
    library.malloc_trim(0)
    return bool(library.mallopt(_M_MMAP_THRESHOLD, LARGE) and library.mallopt(_M_TRIM_THRESHOLD, KEPT))


def give_back_freed_memory() -> None:
    """Give the system what is free now."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc."""
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # this system does not name it so
        return None
    return library if hasattr(library, "gnu_get_libc_version") else None
