"""Sections ``tokens``, ``sizes`` and ``roofline`` of the benchmark: what a step costs as memory and images grow.

The roofline is computed from counted operations and the data sheets of devices. It is a bound, not a measurement.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spann3r_ros.evaluation.full_size import PackedPath, PathRun, noise
from spann3r_ros.evaluation.step_flops import gflop_of_step
from spann3r_ros.files.atomic import replacing_file
from spann3r_ros.memory.spatial import SpatialMemory
from spann3r_ros.models.random_weights import random_network
from spann3r_ros.models.registry import family
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.network import Spann3rNetwork

FULL_FRAMES = 25
"""Stored frames of 224 x 224 after which a memory with the default parameters is as full as a read ever sees it."""

PLOT = "costs.png"


@dataclass(frozen=True)
class RatedDevice:
    """Peaks of a device by its vendor's data sheet.

    Attributes:
        fp32: TFLOP/s without tensor cores.
        bf16: TFLOP/s of tensor cores, dense.
        bandwidth: of its memory, GB/s.
    """

    fp32: float
    bf16: float
    bandwidth: float


DEVICES = {
    "RTX 4090": RatedDevice(82.6, 165.2, 1008.0),
    "A100 80GB SXM": RatedDevice(19.5, 312.0, 2039.0),
    "AGX Orin 64GB": RatedDevice(5.3, 42.5, 204.8),
    "AGX Thor T5000": RatedDevice(8.1, 258.0, 273.0),
}


def cost_of_tokens(repeats: int, architecture: Spann3rArchitecture | None = None) -> list[dict[str, float]]:
    """Median seconds of a read of the memory, from a single frame to a full one, and GFLOP of the whole step."""
    sizes = architecture or Spann3rArchitecture()
    side = 14
    count, width = side * side, sizes.trunk.encoder_width
    memory = SpatialMemory(batch=1, tokens_per_frame=count, width=width)
    frame = torch.randn(1, count, width)
    rows = []
    for stored in range(1, FULL_FRAMES + 1):
        memory.insert(frame, frame, frame)
        if stored not in (1, 5, 10, 15, 20, FULL_FRAMES):
            continue
        seconds = []
        for _ in range(repeats):
            begun = time.perf_counter()
            memory.read(frame)
            seconds.append(time.perf_counter() - begun)
        image = (side * sizes.patch_size, side * sizes.patch_size)
        gflop = gflop_of_step(sizes, image, memory.tokens)
        row = {"tokens": memory.tokens, "read_seconds": statistics.median(seconds), "gflop_per_frame": gflop}
        rows.append(row)
    return rows


def cost_of_sizes(
    images: Sequence[tuple[int, int]], steps: int, architecture: Spann3rArchitecture | None = None
) -> list[dict[str, float]]:
    """Median seconds of our fp32 step for images of (height, width), and its GFLOP with a memory of one frame."""
    sizes = architecture or Spann3rArchitecture()
    network = random_network(family("spann3r"), sizes)
    assert isinstance(network, Spann3rNetwork)
    rows = []
    for height, width in images:
        run = PathRun(PackedPath(network))  # a new memory; what is packed stays packed
        for frame in noise(steps + 1, (height, width)):
            run.step(frame)
        tokens = (height // sizes.patch_size) * (width // sizes.patch_size)
        gflop = gflop_of_step(sizes, (height, width), tokens)
        row = {"height": height, "width": width, "tokens_per_frame": tokens}
        rows.append({**row, "seconds_per_frame": statistics.median(run.seconds), "gflop_per_frame": gflop})
    return rows


def roofline(architecture: Spann3rArchitecture | None = None) -> list[dict[str, Any]]:
    """For every device and precision the least seconds of a step at 224 x 224 with a full memory.

    The larger of two: all operations at the peak rate (those of the head in fp32 always), and all weights read once at
    the peak bandwidth. Computed, not measured.
    """
    sizes = architecture or Spann3rArchitecture()
    image, tokens = (224, 224), FULL_FRAMES * 196
    gflop = gflop_of_step(sizes, image, tokens)
    head = gflop_of_step(sizes, image, tokens, heads=2) - gflop
    rows = []
    for name, device in DEVICES.items():
        for precision, peak in (("fp32", device.fp32), ("bf16", device.bf16)):
            compute = head / (1000 * device.fp32) + (gflop - head) / (1000 * peak)
            read = weights_gb(sizes, precision) / device.bandwidth
            limit = "operations" if compute > read else "reading the weights"
            row = {"device": name, "precision": precision, "gflop_per_frame": gflop}
            rows.append({**row, "seconds_per_frame": max(compute, read), "limit": limit})
    return rows


def weights_gb(architecture: Spann3rArchitecture, precision: str) -> float:
    """Size of the weights; the heads are fp32 in every precision."""
    with torch.device("meta"):
        network = Spann3rNetwork(architecture)
        network.set_precision(torch.bfloat16 if precision == "bf16" else torch.float32)
    return sum(parameter.numel() * parameter.element_size() for parameter in network.parameters()) / 1e9


def plot_costs(path: Path, tokens: Sequence[Mapping[str, float]], sizes: Sequence[Mapping[str, float]]) -> None:
    """Both curves as a PNG: a read over the tokens of the memory, a step over those of an image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([row["tokens"] for row in tokens], [1000 * row["read_seconds"] for row in tokens], marker="o")
    left.set(xlabel="tokens in the memory", ylabel="read [ms]", ylim=(0, None))
    ordered = sorted(sizes, key=lambda row: row["tokens_per_frame"])
    right.plot([row["tokens_per_frame"] for row in ordered], [row["seconds_per_frame"] for row in ordered], marker="o")
    for row in ordered:
        place = (row["tokens_per_frame"], row["seconds_per_frame"])
        right.annotate(
            f"{row['width']} x {row['height']}", place, textcoords="offset points", xytext=(-4, 6), ha="right"
        )
    right.set(xlabel="tokens of an image", ylabel="step in fp32 [s]", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    with replacing_file(path) as draft:
        figure.savefig(draft, format="png", dpi=110)
