"""Pages of the documentation of which a part is written by a program."""

from __future__ import annotations


def with_part(page: str, begin: str, end: str, part: str) -> str:
    """A page in which what stands between two marks is made anew; raises ValueError where a mark is missing."""
    head, _, rest = page.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"no '{begin}' followed by '{end}'")
    return f"{head}{begin}\n{part}{end}{tail}"
