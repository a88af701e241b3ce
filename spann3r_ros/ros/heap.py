"""The heaps of the C library: as many as there are threads, each keeping what it once held, look like a leak."""

from __future__ import annotations

import ctypes
import os

HEAPS = 2
"""Of the C library. By default there are up to eight a core, and DDS, the executor and PyTorch have 25 threads."""

_M_ARENA_MAX = -8  # glibc's malloc.h


def limit_heaps() -> None:
    """Let all threads share ``HEAPS`` heaps, unless ``MALLOC_ARENA_MAX`` says otherwise; call it before they start.

    Does nothing where the C library is not glibc.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, HEAPS)
