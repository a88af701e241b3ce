"""Speed and memory on this machine: Spann3R in each precision, the parts beside it, or the network of any family."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import platform
import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.bench_file import BENCH_FILE
from spann3r_ros.evaluation.bench_tables import write_docs
from spann3r_ros.evaluation.benchmark import (
    difference_on_recording,
    measure_apart,
    measure_network,
    median_difference,
    seconds_of_parts,
)
from spann3r_ros.evaluation.family_benchmark import measure_family, measure_family_apart
from spann3r_ros.evaluation.full_size import PATHS, peak_rss_mb
from spann3r_ros.evaluation.onnx_benchmark import full_size_trial, measure_onnxruntime, shipped_trial
from spann3r_ros.evaluation.pose_graph_benchmark import compare_with_published, measure_pose_graph
from spann3r_ros.evaluation.step_benchmark import LONG, SHORT, measure_step
from spann3r_ros.models.processor import PRECISIONS, processor_name
from spann3r_ros.models.registry import all_families
from spann3r_ros.models.speeds import FamilySpeed, write_speeds

FRAMES = 12
"""That a family, or a precision, takes unless told otherwise."""

BACKEND_FRAMES = 6
"""That PyTorch and ONNX Runtime take in turn unless told otherwise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--short", action="store_true", help="few frames of everything")
    parser.add_argument(
        *("--output", "-o"),
        type=Path,
        default=Path("out/bench"),
        metavar="FOLDER",
        help="where bench.json and its plot go (default out/bench)",
    )
    parser.add_argument(
        "--write-docs",
        type=Path,
        metavar="FOLDER",
        help="measure nothing; show the bench.json of --output in README.md and docs below the package's folder",
    )
    parser.add_argument(
        "--frames", type=int, help=f"frames that a full-size network takes (default {LONG.steps}; {FRAMES} of a family)"
    )
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, help="only these precisions of Spann3R, each in its own process"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the network runs")
    parser.add_argument("--cuda-graphs", action="store_true", help="with the parameter cuda_graphs, on CUDA")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as many as there are cores")
    parser.add_argument(
        *("--family", "-f"),
        nargs="+",
        choices=(*all_families(), "all"),
        help="only the full-size networks of these families, --frames each (a family of windows takes them at once)",
    )
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of a family's images, pixels")
    parser.add_argument("--write", type=Path, metavar="JSON", help="put the families' measurements into this file")
    parser.add_argument(
        "--pose-graph",
        action="store_true",
        help="only the pose graph of 10 km of streets, 1000 submaps and 200 loops, and the published graph beside it",
    )
    for name, meaning in (
        ("--frame", "only what a frame of the shipped model costs outside the network, part by part"),
        ("--node", "only the real node over DDS: overhead, largest rate without drops, latency in a flood"),
    ):
        parser.add_argument(name, action="store_true", help=f"{meaning}; into bench.json")
    parser.add_argument(
        "--long",
        type=int,
        nargs="?",
        const=10_000,
        metavar="FRAMES",
        help="only time and memory of so many frames through step, pose and map (10000); into bench.json",
    )
    parser.add_argument(
        "--onnx", action="store_true", help="only Spann3R in ONNX Runtime beside PyTorch: what ships, and the full size"
    )
    parser.add_argument("--peak", choices=PATHS, help=argparse.SUPPRESS)  # a measuring process prints a number
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)  # a measuring process prints JSON
    parser.add_argument("--pointmaps", type=Path, help=argparse.SUPPRESS)  # a measuring process writes them here


def run(arguments: argparse.Namespace) -> int:
    """Measure what is asked for and print it."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.write_docs is not None:
        for path in write_docs(arguments.write_docs, arguments.output / BENCH_FILE):
            print(path)
        return 0
    if arguments.peak:
        print(peak_rss_mb(arguments.peak))
        return 0
    if arguments.pose_graph:
        for line in chain(measure_pose_graph(1000, 200, 3), [""], compare_with_published(200, 3)):
            print(line)
        return 0
    if arguments.frame or arguments.long is not None or arguments.node:
        from spann3r_ros.cli import frame_benchmarks  # they need the renderer

        path = arguments.output / BENCH_FILE
        if arguments.frame:
            frame_benchmarks.bench_frame(path)
        if arguments.long is not None:
            frame_benchmarks.bench_long(path, arguments.long)
        if arguments.node:
            frame_benchmarks.bench_node(path)
        return 0
    if arguments.onnx:
        return compare_backends(arguments.frames or BACKEND_FRAMES)
    one_process_each = arguments.precision or arguments.device != "cpu" or arguments.pointmaps
    if not (arguments.family or one_process_each):
        extent = SHORT if arguments.short else LONG
        if arguments.frames:
            extent = dataclasses.replace(extent, steps=arguments.frames)
        for line in measure_step(arguments.output, extent):
            print(line, flush=True)
        return 0
    frames, precisions = arguments.frames or FRAMES, arguments.precision or ["fp32", "bf16"]
    device, graphs = arguments.device, arguments.cuda_graphs
    size = tuple(arguments.size) if arguments.size else None
    if arguments.apart:
        measured = measure_family(arguments.family[0], precisions[0], frames, device, size, graphs)
        print(json.dumps(dataclasses.asdict(measured)))
        return 0
    if arguments.pointmaps:
        speed = measure_network(precisions[0], frames, device, arguments.pointmaps, graphs)
        print(json.dumps(dataclasses.asdict(speed)))
        return 0
    if arguments.family:
        return measure_families(arguments.family, precisions, frames, device, size, arguments.write, graphs)
    return measure_precisions(precisions, frames, device, graphs)


def measure_precisions(precisions: Sequence[str], frames: int, device: str, graphs: bool) -> int:
    """Print one table; each precision runs in a process of its own, so that its peak memory is its own."""
    print(
        f"{platform.platform()}, {processor_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{datetime.date.today()}, random weights, 224 x 224\n")
    print(f"{'Spann3R ViT-L':16}{'s/frame':>10}{'(min':>9}{'max)':>8}{'first':>9}{'peak GB':>10}{'weights GB':>12}")
    maps: dict[str, NDArray[np.float32]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in precisions:
            target = Path(folder) / f"{precision}.npy"
            try:
                row = measure_apart(precision, frames, device, target, graphs)
            except DataError as error:
                print(f"{precision:16} failed with {error.got}")
                continue
            print(
                f"{precision:16}{row.median:10.3f}{row.min:9.3f}{row.max:8.3f}{row.first:9.3f}"
                f"{row.peak:10.2f}{row.weights:12.2f}"
            )
            maps[precision] = np.load(target)
    for precision, points in maps.items():
        if precision != "fp32" and "fp32" in maps:
            difference = median_difference(points, maps["fp32"])
            print(f"{precision} against fp32: median relative difference of the pointmaps {difference:.2e}")
    recorded = difference_on_recording()
    if recorded is None:
        print("no recorded sequence here (it lies in the repository): bf16 is not compared on it")
    else:
        print(f"bf16 against fp32 on the recorded sequence: median relative difference {recorded:.2e}")
    print()
    for name, seconds in seconds_of_parts(device).items():
        print(f"{name:36}{1000 * seconds:9.2f} ms")
    return 0


def compare_backends(frames: int) -> int:
    """Print a line for the model that ships and one for the full size."""
    print(f"{processor_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {datetime.date.today()}")
    print(f"{'Spann3R, s/frame':16}{'torch':>9}{'(CPU)':>10}{'onnxruntime':>13}{'(CPU)':>10}{'difference':>12}")
    for name, trial in (("shipped", shipped_trial), ("full size", full_size_trial)):
        speeds = measure_onnxruntime(trial(), frames)
        print(
            f"{name:16}{speeds.torch:9.4f}{speeds.torch_processor:10.4f}{speeds.onnxruntime:13.4f}"
            f"{speeds.onnxruntime_processor:10.4f}{speeds.difference:12.1e}",
            flush=True,
        )
    return 0


def measure_families(
    names: Sequence[str],
    precisions: Sequence[str],
    frames: int,
    device: str,
    size: tuple[int, int] | None,
    target: Path | None,
    graphs: bool,
) -> int:
    """Print a line for each family and precision; exit status 1 when one could not be measured."""
    found: list[FamilySpeed] = []
    failed = 0
    print(
        f"{'family':12} {'':5} {'size':>9} {'frames':>6} {'s/frame':>9} {'peak GB':>8} {'weights':>8} {'memory':>7}"
        " tokens"
    )
    for name in all_families() if "all" in names else names:
        for precision in precisions:
            try:
                speed = measure_family_apart(name, precision, frames, device, size, graphs)
            except DataError as error:
                failed += 1
                print(f"{name:12} {precision:5} {error}", flush=True)
                continue
            found.append(speed)
            print(
                f"{name:12} {precision:5} {f'{speed.width}x{speed.height}':>9} {speed.frames:6d} {speed.seconds:9.3f} "
                f"{speed.peak:8.2f} {speed.weights:8.2f} {speed.memory:7.2f} {speed.tokens:6d}",
                flush=True,
            )
            if target is not None:
                write_speeds(target, found)
    if found:
        print(f"{found[0].machine}, {found[0].date}, random weights, noise")
    return 1 if failed else 0
