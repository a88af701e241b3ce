"""Numba's compiler with the settings that all kernels share. It is optional: who has other ways asks ``COMPILES``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from spann3r_ros.errors import Spann3rError

numba: Any
try:
    import numba
except ImportError:
    numba = None

COMPILES = numba is not None
"""Whether kernels run compiled."""


F = TypeVar("F", bound=Callable[..., Any])


def njit(function: F) -> F:
    """Compiled at the first call and kept on disk where there is a place to write; untouched without Numba.

    No global lock while a kernel runs; IEEE division instead of an exception.
    """
    if numba is None:
        return function
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # neither beside the code nor at home a folder for it
        return cast(F, numba.njit(nogil=True, error_model="numpy")(function))


def require_compiler(purpose: str) -> None:
    """Raise Spann3rError where Numba is missing that ``purpose`` cannot do without."""
    if not COMPILES:
        raise Spann3rError(
            f"{purpose} needs numba, which is not installed",
            next_step="pip install numba, or pip install 'spann3r_ros[synthetic]'",
        )
