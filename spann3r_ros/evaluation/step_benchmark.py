"""All sections of the benchmark of Spann3R on a CPU, each written as soon as it is measured."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.bench_file import BENCH_FILE, read_sections, write_section
from spann3r_ros.evaluation.bench_tables import TABLES
from spann3r_ros.evaluation.benchmark import seconds_of_parts
from spann3r_ros.evaluation.full_size import ONNXRUNTIME, PATHS, measure_full_size, peak_rss_mb_apart
from spann3r_ros.evaluation.speed_accuracy import measure_accuracy
from spann3r_ros.evaluation.step_costs import PLOT, cost_of_sizes, cost_of_tokens, plot_costs, roofline
from spann3r_ros.models.processor import instructions, processor_name


@dataclass(frozen=True)
class BenchExtent:
    """How much is measured.

    Attributes:
        steps: of the full-size network in each path.
        sizes: (height, width) of images, and how many steps of each.
        size_steps: steps of each size.
        reads: of each memory.
        walk: frames of the walk on which accuracy is measured.
        paths: ways to run the step.
    """

    steps: int
    sizes: tuple[tuple[int, int], ...]
    size_steps: int
    reads: int
    walk: int
    paths: tuple[str, ...] = tuple(PATHS)


SHORT = BenchExtent(
    steps=2,
    sizes=((112, 112), (224, 224)),
    size_steps=1,
    reads=5,
    walk=20,
    paths=tuple(name for name in PATHS if name != ONNXRUNTIME),  # its export takes a minute
)
LONG = BenchExtent(steps=8, sizes=((112, 112), (224, 224), (336, 336), (384, 512)), size_steps=3, reads=20, walk=100)


def measure_step(folder: Path, extent: BenchExtent) -> Iterator[str]:
    """Measure everything and write it to ``bench.json`` in a folder; lines for people, as they come.

    Raises:
        DataError: the folder holds a ``bench.json`` that is none.
    """
    path = folder / BENCH_FILE
    load = os.getloadavg()[0]
    about = {
        "cpu_flags": instructions(),
        "machine": processor_name().partition(" (")[0],
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": str(datetime.date.today()),
        "load": load,
    }
    for name, value in about.items():
        write_section(path, name, value)
    yield "Full-size network (ViT-L), random weights, noise of 224 x 224"
    entries = measure_full_size(extent.steps, names=extent.paths)
    for name in extent.paths:
        if name == ONNXRUNTIME:  # whoever exports holds the network twice; a robot that only loads does not
            continue
        try:
            entries[name]["peak_rss_mb"] = peak_rss_mb_apart(name)
        except DataError as error:
            yield str(error)
    write_section(path, "load", max(load, os.getloadavg()[0]))
    write_section(path, "full_size", entries)
    yield _told(path, "full_size")
    yield "The model that ships, a rendered walk"
    write_section(path, "accuracy", measure_accuracy(extent.walk))
    yield _told(path, "accuracy")
    yield "What a step costs"
    tokens, sizes = cost_of_tokens(extent.reads), cost_of_sizes(extent.sizes, extent.size_steps)
    write_section(path, "tokens", tokens)
    write_section(path, "sizes", sizes)
    plot_costs(folder / PLOT, tokens, sizes)
    yield _told(path, "tokens")
    yield _told(path, "sizes")
    write_section(path, "roofline", roofline())
    yield _told(path, "roofline")
    parts = seconds_of_parts("cpu")
    write_section(path, "parts", parts)
    yield from (f"{name:36}{1000 * seconds:9.2f} ms" for name, seconds in parts.items())
    yield f"\nwritten: {path}, {folder / PLOT}"


def _told(path: Path, name: str) -> str:
    return TABLES[name](read_sections(path))
