"""Speed and memory on this machine: the network in each precision, the read of a full memory, poses and the map."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spann3r_ros.config import Config
from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.parity.spann3r import memory_config
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.pnp import estimate_pose
from spann3r_ros.mapping.map import Map
from spann3r_ros.memory.spatial import SpatialMemory
from spann3r_ros.models.checkpoint.reading import read_checkpoint
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
from spann3r_ros.models.loading import load_network
from spann3r_ros.models.processor import PRECISIONS
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.files import architecture_from_config
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.prediction import Prediction

SIDE = 224
"""Width and height of the images in pixels."""

FULL_MEMORY = 4980
"""Tokens of a memory that is full with the default parameters."""

RECORDING = Path(__file__).parents[2] / "test" / "data" / "golden"
"""The recorded sequence of a checkout; its weights are random, its images are not."""


@dataclass(frozen=True)
class NetworkSpeed:
    """How the full-size network ran.

    Attributes:
        median, min, max: seconds a frame.
        first: seconds of the first step that decodes, which warms up.
        peak: of the memory, GB: of the process, on CUDA of the device.
        weights: size of the weights, GB.
    """

    median: float
    min: float
    max: float
    first: float
    peak: float
    weights: float


def measure_network(precision: str, frames: int, device: str, pointmaps: Path, graphs: bool = False) -> NetworkSpeed:
    """Run the full-size network with random weights on noise.

    Its peak memory is that of the whole process, so each measurement should have a process of its own.

    Args:
        precision: one of ``PRECISIONS``.
        frames: how many.
        device: ``cpu`` or ``cuda``.
        pointmaps: .npy file to which all pointmaps are written, (frames, h, w, 3) float32.
        graphs: whether CUDA replays recorded work, see the parameter ``cuda_graphs``.
    """
    network = random_spann3r(PRECISIONS[precision], device)
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    model = Spann3r(network, Config(cuda_graphs=graphs), "random")
    memory, generator = model.new_memory(), np.random.default_rng(0)
    seconds: list[float] = []
    answers: list[Prediction] = []
    for index in range(frames):
        image = generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        start = time.perf_counter()
        answers += model.step(Frame(index, index, "camera", image), memory)
        seconds.append(time.perf_counter() - start)
    np.save(pointmaps, np.stack([answer.points for answer in answers]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    steady = seconds[2:] or seconds
    return NetworkSpeed(
        median=statistics.median(steady),
        min=min(steady),
        max=max(steady),
        first=seconds[1] if len(seconds) > 1 else seconds[0],
        peak=peak / 1e9,
        weights=weights / 1e9,
    )


def measure_apart(precision: str, frames: int, device: str, pointmaps: Path, graphs: bool = False) -> NetworkSpeed:
    """``measure_network`` in a process of its own; raises DataError when that fails."""
    command = [sys.executable, "-m", "spann3r_ros", "bench", "--precision", precision]
    command += ["--frames", str(frames), "--device", device]
    command += ["--threads", str(torch.get_num_threads()), "--pointmaps", str(pointmaps)]
    command += ["--cuda-graphs"] if graphs else []
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise DataError(f"measuring {precision} failed", got=f"exit status {result.returncode}")
    return NetworkSpeed(**json.loads(result.stdout))


def median_difference(points: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Median over all points (..., 3) of the distance to the reference's point over the length of that."""
    error = np.linalg.norm(points - reference, axis=-1) / np.linalg.norm(reference, axis=-1)
    return float(np.median(error))


def difference_on_recording() -> float | None:
    """``median_difference`` of bf16 to fp32 on the recorded sequence; None outside of the repository."""
    if not RECORDING.is_dir():
        return None
    config = json.loads((RECORDING / "spann3r_tiny_config.json").read_text())
    recording = read_tensor_file(RECORDING / "spann3r_tiny_sequence.safetensors").tensors
    checkpoint = read_checkpoint(RECORDING / "spann3r_tiny_weights.safetensors", architecture_from_config(config))
    maps = []
    for precision in ("fp32", "bf16"):
        network = load_network(checkpoint, torch.device("cpu"), precision)
        assert isinstance(network, Spann3rNetwork)
        model = Spann3r(network, memory_config(config, 48, 80), "recording")
        memory = model.new_memory()
        frames = [Frame(i, i, "camera", image) for i, image in enumerate(recording["images_u8"].numpy())]
        answers = [answer for frame in frames for answer in model.step(frame, memory) if answer.final]
        maps.append(np.stack([answer.points for answer in answers]))
    return median_difference(maps[1], maps[0])


def seconds_of_parts(device: str) -> dict[str, float]:
    """Median seconds of what happens beside the network, by what it is."""
    points = SIDE * SIDE
    return {
        f"memory read, {FULL_MEMORY} tokens of 1024": _median_seconds(_memory_read(device)),
        f"pose by PnP, 2000 of {points} points": _median_seconds(_pose()),
        f"map insertion, {points} points": _median_seconds(_insertion()),
    }


def random_spann3r(precision: torch.dtype = torch.float32, device: str = "cpu") -> Spann3rNetwork:
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


def _median_seconds(action: Callable[[], object], repeats: int = 20) -> float:
    """Median seconds of one call, after one to warm up."""
    action()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _memory_read(device: str) -> Callable[[], object]:
    """A read of a full memory."""
    memory = SpatialMemory(batch=1, tokens_per_frame=196, width=1024, device=device)
    frame = torch.randn(1, 196, 1024, device=device)
    while memory.tokens < FULL_MEMORY:
        memory.insert(frame, frame, frame)

    def read() -> float:
        return float(memory.read(frame).received.sum())  # the number waits for the device

    return read


def _prediction() -> Prediction:
    """A room's corner of 3 m in an image of SIDE x SIDE pixels."""
    camera = Intrinsics(200.0, 200.0, 111.5, 111.5, SIDE, SIDE)
    v, u = np.mgrid[:SIDE, :SIDE]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    depth = 1.5 / np.abs(rays).max(axis=-1)
    points = (rays * depth[..., None]).astype(np.float32)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    return Prediction(
        Frame(0, 0, "camera", image), points, np.full((SIDE, SIDE), 0.8, np.float32), image, intrinsics=camera
    )


def _pose() -> Callable[[], object]:
    """A pose of one prediction."""
    prediction = _prediction()
    assert prediction.intrinsics is not None
    camera = prediction.intrinsics
    return lambda: estimate_pose(prediction.points, prediction.confidence, camera)


def _insertion() -> Callable[[], object]:
    """One prediction into a map, again and again."""
    prediction, built = _prediction(), Map(Config().map)
    return lambda: built.insert(prediction)
