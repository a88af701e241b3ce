"""Reading arrays (.npy, .npz) that may be damaged, or bombs."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLAUSIBLE_SIZE = 64 << 20
PLAUSIBLE_RATIO = 20
"""An archive of arrays that unpacks to more than both is none of ours: ours are not compressed."""

DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, OverflowError, RecursionError),
    *(MemoryError, NotImplementedError, RuntimeError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What damaged and crafted archives raise while they are read."""


@contextmanager
def open_arrays(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of an archive by name, read when they are asked for, without pickles.

    Raises:
        one of ``DAMAGE``: whatever is wrong with it; the caller says what was expected.
    """
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    most = max(PLAUSIBLE_SIZE, PLAUSIBLE_RATIO * path.stat().st_size)
    if unpacked > most:
        raise ValueError(f"{path.stat().st_size} bytes unpack to {unpacked}")
    with np.load(path, allow_pickle=False) as arrays:
        yield arrays
