"""The rows of the registry as tables of docs/models.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spann3r_ros.models.family import NetworkFamily
from spann3r_ros.models.registry import DESCRIPTORS, FAMILIES, RELOCALIZERS, official_files

BEGIN, END = "<!-- begin: generated from the registry, {name} -->", "<!-- end: {name} -->"


def with_tables(page: str) -> str:
    """A page whose parts between the marks of each table are made anew; ValueError when a mark is missing."""
    tables = {"families": families_table(), "others": others_table(), "weights": weights_table()}
    for name, table in tables.items():
        begin, end = BEGIN.format(name=name), END.format(name=name)
        head, _, rest = page.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            raise ValueError(f"no '{begin}' followed by '{end}'")
        page = f"{head}{begin}\n{table}{end}{tail}"
    return page


def families_table() -> str:
    """A row for each family."""
    return _families(FAMILIES.values(), "parameter `model`")


def others_table() -> str:
    """A row for each family that does not map."""
    return _families([*RELOCALIZERS.values(), *DESCRIPTORS.values()], "family")


def _families(families: Iterable[NetworkFamily], head: str) -> str:
    rows = [
        (f"`{row.name}`", row.kind, row.summary, row.memory, f"[arXiv {row.paper}](https://arxiv.org/abs/{row.paper})")
        for row in families
    ]
    return _markdown((head, "kind", "what it does", "memory", "paper"), rows)


def weights_table() -> str:
    """A row for each official file."""
    rows = [
        (
            f"`{file.name}`",
            row.name,
            f"`{file.file}`",
            f"{file.gigabytes} GB",
            file.source.address,
            file.license,
            "yes" if file.commercial else "no",
        )
        for row, file in official_files().values()
    ]
    return _markdown(("`models fetch`", "family", "file", "size", "from", "license", "commercial use"), rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
