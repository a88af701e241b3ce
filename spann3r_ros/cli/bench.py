"""Speed and memory on this machine: the network in each precision, the read of a full memory, poses and the map."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spann3r_ros.config import Config
from spann3r_ros.evaluation.parity import memory_config
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.pnp import estimate_pose
from spann3r_ros.mapping.map import Map
from spann3r_ros.memory.spatial import SpatialMemory
from spann3r_ros.models.checkpoint.reading import read_checkpoint
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
from spann3r_ros.models.loading import load_network
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.files import architecture_from_config
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.prediction import Prediction

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
        print(json.dumps(_measure_network(arguments)))
        return 0
    print(
        f"{platform.platform()}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
    )
    print(f"{datetime.date.today()}, random weights, 224 x 224\n")
    print(f"{'Spann3R ViT-L':16}{'s/frame':>10}{'(min':>9}{'max)':>8}{'first':>9}{'peak GB':>10}{'weights GB':>12}")
    maps: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in arguments.precision:
            target = Path(folder) / f"{precision}.npy"
            command = [sys.executable, "-m", "spann3r_ros", "bench", "--precision", precision]
            command += ["--frames", str(arguments.frames), "--device", arguments.device]
            command += ["--threads", str(torch.get_num_threads()), "--pointmaps", str(target)]
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if result.returncode:
                print(f"{precision:16} failed with exit status {result.returncode}")
                continue
            row = json.loads(result.stdout)
            print(
                f"{precision:16}{row['median']:10.3f}{row['min']:9.3f}{row['max']:8.3f}{row['first']:9.3f}"
                f"{row['peak']:10.2f}{row['weights']:12.2f}"
            )
            maps[precision] = np.load(target)
    for precision, points in maps.items():
        if precision != "fp32" and "fp32" in maps:
            error = np.linalg.norm(points - maps["fp32"], axis=-1) / np.linalg.norm(maps["fp32"], axis=-1)
            print(f"{precision} against fp32: median relative difference of the pointmaps {np.median(error):.2e}")
    _compare_on_recording()
    print()
    for name, seconds in (
        ("memory read, 4980 tokens of 1024", _time(_memory_read(arguments.device))),
        ("pose by PnP, 2000 of 50176 points", _time(_pose())),
        ("map insertion, 50176 points", _time(_insertion())),
    ):
        print(f"{name:36}{1000 * seconds:9.2f} ms")
    return 0


def _measure_network(arguments: argparse.Namespace) -> dict[str, float]:
    """Run the full-size network on noise; the first step, which warms up, is counted apart."""
    precision = arguments.precision[0]
    network = _random_network(PRECISIONS[precision], arguments.device)
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    model = Spann3r(network, Config(), "random")
    memory, generator = model.new_memory(), np.random.default_rng(0)
    seconds, answers = [], []
    for index in range(arguments.frames):
        image = generator.integers(0, 256, (224, 224, 3), np.uint8)
        start = time.perf_counter()
        answers += model.step(Frame(index, index, "camera", image), memory)
        seconds.append(time.perf_counter() - start)
    np.save(arguments.pointmaps, np.stack([answer.points for answer in answers]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if arguments.device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    steady = seconds[2:] or seconds
    return {
        "median": statistics.median(steady),
        "min": min(steady),
        "max": max(steady),
        "first": seconds[1] if len(seconds) > 1 else seconds[0],
        "peak": peak / 1e9,
        "weights": weights / 1e9,
    }


def _random_network(precision: torch.dtype, device: str) -> Spann3rNetwork:
    """The full-size network, made in its precision at once, so that the peak is that of running it."""
    with torch.device("meta"):
        network = Spann3rNetwork(Spann3rArchitecture())
        network.set_precision(precision)
    network.to_empty(device=device).eval().requires_grad_(False)
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.constant_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0)
        else:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return network


def _compare_on_recording() -> None:
    """bf16 against fp32 on the recorded sequence of a checkout, whose weights are random but whose images are not."""
    folder = Path(__file__).parents[2] / "test" / "data" / "golden"
    if not folder.is_dir():
        print("no recorded sequence here (it lies in the repository): bf16 is not compared on it")
        return
    config = json.loads((folder / "spann3r_tiny_config.json").read_text())
    recording = read_tensor_file(folder / "spann3r_tiny_sequence.safetensors").tensors
    checkpoint = read_checkpoint(folder / "spann3r_tiny_weights.safetensors", architecture_from_config(config))
    maps = []
    for precision in ("fp32", "bf16"):
        network = load_network(checkpoint, torch.device("cpu"), precision)
        assert isinstance(network, Spann3rNetwork)
        model = Spann3r(network, memory_config(config, 48, 80), "recording")
        memory = model.new_memory()
        frames = [Frame(i, i, "camera", image) for i, image in enumerate(recording["images_u8"].numpy())]
        answers = [answer for frame in frames for answer in model.step(frame, memory) if answer.final]
        maps.append(np.stack([answer.points for answer in answers]))
    error = np.linalg.norm(maps[1] - maps[0], axis=-1) / np.linalg.norm(maps[0], axis=-1)
    print(f"bf16 against fp32 on the recorded sequence: median relative difference {np.median(error):.2e}")


def _time(action: Callable[[], object], repeats: int = 20) -> float:
    """Median seconds of one call, after one to warm up."""
    action()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _memory_read(device: str) -> Callable[[], object]:
    memory = SpatialMemory(batch=1, tokens_per_frame=196, width=1024, device=device)
    frame = torch.randn(1, 196, 1024, device=device)
    while memory.tokens < 4980:
        memory.insert(frame, frame, frame)

    def read() -> float:
        return float(memory.read(frame).received.sum())  # the number waits for the device

    return read


def _prediction() -> Prediction:
    """A room's corner of 3 m seen in 224 x 224 pixels."""
    camera = Intrinsics(200.0, 200.0, 111.5, 111.5, 224, 224)
    v, u = np.mgrid[:224, :224]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    depth = 1.5 / np.abs(rays).max(axis=-1)
    points = (rays * depth[..., None]).astype(np.float32)
    image = np.zeros((224, 224, 3), np.uint8)
    return Prediction(
        Frame(0, 0, "camera", image), points, np.full((224, 224), 0.8, np.float32), image, intrinsics=camera
    )


def _pose() -> Callable[[], object]:
    prediction = _prediction()
    assert prediction.intrinsics is not None
    camera = prediction.intrinsics
    return lambda: estimate_pose(prediction.points, prediction.confidence, camera)


def _insertion() -> Callable[[], object]:
    prediction, built = _prediction(), Map(Config().map)
    return lambda: built.insert(prediction)
