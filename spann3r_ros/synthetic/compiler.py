"""Numba's compiler with the settings that all kernels share."""

from __future__ import annotations

from typing import Any

from spann3r_ros.errors import Spann3rError

try:
    import numba
except ImportError as error:
    raise Spann3rError(
        "rendering synthetic scenes needs numba, which is not installed",
        next_step="pip install numba, or pip install 'spann3r_ros[synthetic]'",
    ) from error

# Compiled once and kept on disk; no global lock while a kernel runs; IEEE division instead of an exception.
njit: Any = numba.njit(cache=True, nogil=True, error_model="numpy")
