"""Speed and memory on this machine: the network in each precision, the read of a full memory, poses and the map."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import platform
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.benchmark import (
    difference_on_recording,
    measure_apart,
    measure_network,
    median_difference,
    seconds_of_parts,
)
from spann3r_ros.models.loading import PRECISIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--frames", type=int, default=12, help="frames that the full-size network takes (default 12)")
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=["fp32", "bf16"], help="precisions to measure"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the network runs")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as many as there are cores")
    parser.add_argument("--pointmaps", type=Path, help=argparse.SUPPRESS)  # a measuring process writes them here


def run(arguments: argparse.Namespace) -> int:
    """Print one table; each precision runs in a process of its own, so that its peak memory is its own."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.pointmaps:
        speed = measure_network(arguments.precision[0], arguments.frames, arguments.device, arguments.pointmaps)
        print(json.dumps(dataclasses.asdict(speed)))
        return 0
    print(
        f"{platform.platform()}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
    )
    print(f"{datetime.date.today()}, random weights, 224 x 224\n")
    print(f"{'Spann3R ViT-L':16}{'s/frame':>10}{'(min':>9}{'max)':>8}{'first':>9}{'peak GB':>10}{'weights GB':>12}")
    maps: dict[str, NDArray[np.float32]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in arguments.precision:
            target = Path(folder) / f"{precision}.npy"
            try:
                row = measure_apart(precision, arguments.frames, arguments.device, target)
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
    for name, seconds in seconds_of_parts(arguments.device).items():
        print(f"{name:36}{1000 * seconds:9.2f} ms")
    return 0
