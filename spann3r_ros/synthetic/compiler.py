"""Numba's compiler with the settings that all kernels share."""

from __future__ import annotations

from typing import Any

try:
    import numba
except ImportError as error:
    raise ImportError("the synthetic renderer needs numba: pip install numba (or spann3r_ros[synthetic])") from error

# Compiled once and kept on disk; no global lock while a kernel runs; IEEE division instead of an exception.
njit: Any = numba.njit(cache=True, nogil=True, error_model="numpy")
