"""The file that `make bench` leaves: a JSON object whose sections are measured one by one, by whoever measures them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spann3r_ros.errors import DataError
from spann3r_ros.files.atomic import replacing_file

BENCH_FILE = "bench.json"
"""Its name in the folder of the option ``--output``."""


def write_section(path: Path, name: str, content: Any) -> None:
    """Put one section into the file in the place of an older one of its name; the others stay as they were.

    A reader sees the old file or the new one. Who writes at the same time from another process may undo it.

    Args:
        path: the file; it and its folder are made when missing.
        name: of the section.
        content: what JSON can say; no NaN and no infinity.

    Raises:
        DataError: the file is there and is no JSON object, or ``content`` is not what JSON can say. The file stays.
    """
    sections = read_sections(path)
    sections[name] = content
    try:
        text = json.dumps(sections, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"section {name!r} of {path}", got=str(error), expected="strings, finite numbers, lists and objects of them"
        ) from error
    with replacing_file(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


def read_sections(path: Path) -> dict[str, Any]:
    """All sections by name; none where there is no such file; DataError when it is no JSON object."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_sections(path, str(error)) from error
    if not isinstance(content, dict):
        raise _no_sections(path, type(content).__name__)
    return content


def _no_sections(path: Path, got: str) -> DataError:
    return DataError(
        f"{path} is no file of measurements",
        got=got,
        expected="a JSON object",
        next_step="Remove it, or choose another folder with --output",
    )
