"""Measured speeds of the families' full-size networks, as the page of the models states them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FamilySpeed:
    """How a full-size network of a family ran.

    Attributes:
        family: its name.
        precision: of its trunk.
        height, width: of its images, pixels.
        frames: that it took; of a family of windows all at once.
        seconds: a frame, in the median; of a family of windows the window's over its frames.
        peak: of the memory, GB: of the process, on CUDA of the device.
        weights: size of the weights, GB.
        tokens: that its memory held at the end.
        memory: size of its memory at the end, GB.
        machine: processor, threads, version of PyTorch.
        date: of the measurement.
    """

    family: str
    precision: str
    height: int
    width: int
    frames: int
    seconds: float
    peak: float
    weights: float
    tokens: int
    memory: float
    machine: str
    date: str


def write_speeds(path: Path, speeds: list[FamilySpeed]) -> None:
    """Put measurements into a JSON of them, in the place of older ones of the same family and precision."""
    known = {(speed.family, speed.precision): speed for speed in [*read_speeds(path), *speeds]}
    rows = [dataclasses.asdict(speed) for _, speed in sorted(known.items())]
    path.write_text(json.dumps(rows, indent=1) + "\n")


def read_speeds(path: Path) -> list[FamilySpeed]:
    """The measurements of a JSON; none where there is no such file."""
    return [FamilySpeed(**row) for row in json.loads(path.read_text())] if path.is_file() else []
