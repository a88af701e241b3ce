"""Memory of this process on Linux: the heaps of the C library, what they keep, and the size of the pages.

Whoever starts the program decides first: what an environment variable of glibc says is left alone.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

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

HUGE_PAGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
"""Says how many bytes a huge page has: 2 MB on most machines."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # of madvise(2)


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


def use_huge_pages(pieces: Iterable[tuple[int, int]]) -> int:
    """Bring memory that is read from end to end for each image into huge pages; returns how many bytes lie in such now.

    The weights of a full-size network lie in 600,000 pages, far more than a processor remembers where they are. From
    Linux 6.1 on it is done at once; before, and where memory is too scattered, the system does it when it has time.
    Nothing happens where it does not do that at all, nor to memory that is mapped from a file.

    Args:
        pieces: address and bytes of each.
    """
    try:
        size, mappings = int(HUGE_PAGE.read_text()), list(_anonymous_mappings())
        advise = ctypes.CDLL(None).madvise
    except (OSError, ValueError, TypeError, AttributeError):
        return 0
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    pages = set[int]()
    for address, count in pieces:
        # Pages that a piece shares with its neighbors, too, as far as the mappings reach that it lies in.
        first, last = address // size * size, -(-(address + count) // size) * size
        for begin, end in mappings:
            if begin < address + count and address < end:
                pages.update(range(max(first, -(-begin // size) * size), min(last, end // size * size), size))
    moved = 0
    for page in sorted(pages):
        advise(page, size, _MADV_HUGEPAGE)
        moved += size * (advise(page, size, _MADV_COLLAPSE) == 0)
    return moved


def _anonymous_mappings() -> Iterator[tuple[int, int]]:
    """Begin and end of the memory that this process may write and that no file is behind."""
    with Path("/proc/self/maps").open(encoding="utf-8") as lines:
        for line in lines:
            addresses, permissions, _, _, inode, *_ = line.split()
            if permissions.startswith("rw") and inode == "0":
                begin, end = addresses.split("-")
                yield int(begin, 16), int(end, 16)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc."""
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # this system does not name it so
        return None
    return library if hasattr(library, "gnu_get_libc_version") else None
