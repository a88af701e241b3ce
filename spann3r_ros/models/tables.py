"""The rows of the registry as tables of docs/models.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from spann3r_ros.files.page import with_part
from spann3r_ros.models.family import NetworkFamily
from spann3r_ros.models.registry import DESCRIPTORS, FAMILIES, RELOCALIZERS, all_families, official_files
from spann3r_ros.models.speeds import FamilySpeed, read_speeds

BEGIN, END = "<!-- begin: generated from the registry, {name} -->", "<!-- end: {name} -->"


def with_tables(page: str, speeds: Path) -> str:
    """A page whose parts between the marks of each table are made anew.

    Args:
        page: the text.
        speeds: JSON of measurements, which ``bench --family all --write`` makes.

    Raises:
        ValueError: a mark is missing.
    """
    tables = {
        "families": families_table(),
        "others": others_table(),
        "networks": networks_table(read_speeds(speeds)),
        "weights": weights_table(),
    }
    for name, table in tables.items():
        page = with_part(page, BEGIN.format(name=name), END.format(name=name), table)
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


def networks_table(speeds: Sequence[FamilySpeed]) -> str:
    """A row for each family's full-size network: what it gives, how large it is, and how fast it was measured."""
    rows = [
        (
            f"`{row.name}`",
            row.poses,
            "meters" if row.architecture.metric else "unknown",
            "{1} x {0}".format(*row.architecture.image_size),
            f"{parameter_count(row) / 1e6:.1f} M",
            ", ".join(row.licenses),
            _commercial(row),
            "; ".join(_speed(speed) for speed in speeds if speed.family == row.name) or "not measured",
        )
        for row in all_families().values()
    ]
    head = ("`model`", "poses", "unit", "images", "parameters", "license of the weights", "commercial use")
    return _markdown((*head, "measured: s/frame, peak of the memory"), rows)


def parameter_count(row: NetworkFamily) -> int:
    """Numbers in the full-size network's tensors; official files hold some more that inference does not use."""
    with torch.device("meta"):
        return sum(tensor.numel() for tensor in row.network(row.architecture).state_dict().values())


def _commercial(row: NetworkFamily) -> str:
    """Whether any, all or none of the official files may earn money."""
    allowed = {file.commercial for file in row.files}
    if len(allowed) > 1:
        return "some of them"
    return {True: "yes", False: "no", None: "no official weights"}[next(iter(allowed), None)]


def _speed(speed: FamilySpeed) -> str:
    of = f"{speed.frames} frames of {speed.width} x {speed.height}"
    return f"{speed.precision}, {of}: {speed.seconds:.2f} s, {speed.peak:.1f} GB"


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
