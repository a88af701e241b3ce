"""YAML and JSON of other people, whose nesting, aliases or numbers may be hostile."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from spann3r_ros.errors import DataError
from spann3r_ros.files.text import read_text

MOST_BYTES = 4 << 20
MOST_DEPTH = 50
MOST_VALUES = 200_000
"""Values, each counted as often as aliases repeat it."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""LibYAML's where it is installed: twenty times faster, and safe as long as nothing is nested deeply."""


def read_yaml(path: Path, most: int = MOST_BYTES) -> Any:
    """The content of a YAML file; raises DataError for no such file, other content, or aliases that multiply it."""
    text = read_text(path, most)
    try:
        _check_depth(text)
        content = yaml.load(text, Loader=LOADER)  # which is one of the safe ones
        _check_size(content)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError, AttributeError, KeyError) as error:
        raise DataError(f"file {path}", got=_first_line(error), expected="YAML") from error
    return content


def read_json(path: Path, most: int = 64 << 20) -> Any:
    """The content of a JSON file; raises DataError for no such file, or other content."""
    try:
        return json.loads(read_text(path, most))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"file {path}", got=_first_line(error), expected="JSON") from error


def _check_depth(text: str) -> None:
    """Raise ValueError for nesting that would cost a parser its stack, or minutes."""
    depth = 0
    for found in re.finditer(r"[\[{\]}]", text):
        depth = max(0, depth + (1 if found[0] in "[{" else -1))
        if depth > MOST_DEPTH:
            raise ValueError(f"more than {MOST_DEPTH} brackets in each other")
    if re.search(rf"^[ \t]{{{4 * MOST_DEPTH}}}|([-?:&!][^\s]*[ \t]+){{{MOST_DEPTH}}}", text, re.MULTILINE):
        raise ValueError(f"nested more than {MOST_DEPTH} times")


def _check_size(content: Any) -> None:
    """Raise ValueError when walking through all values would take for ever."""
    waiting, seen = [content], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values, aliases counted")
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | set | tuple):
            waiting.extend(value)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
