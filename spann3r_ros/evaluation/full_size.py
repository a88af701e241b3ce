"""Section ``full_size`` of the benchmark: every way to run a step of the full-size Spann3R, frame by frame in turn.

All ways have the same random weights and see the same noise, so that load on the machine meets all of them alike. A row
of ``PATHS`` is all that another way needs.
"""

from __future__ import annotations

import copy
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from spann3r_ros.blocks.packed_linear import pack_linears
from spann3r_ros.config import Config
from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.published_step import PublishedStep
from spann3r_ros.evaluation.step_flops import GemmRate, gflop_of_step
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import ModelStream
from spann3r_ros.models.loading import load_model, settle
from spann3r_ros.models.onnx.exporter import export_model
from spann3r_ros.models.onnx.trial import ExportTrial
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.models.random_weights import random_network
from spann3r_ros.models.registry import family
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.models.spann3r.parameters import Spann3rParameters

REFERENCE = "fp32_reference"

SIZE = (224, 224)

Pointmaps = list[NDArray[np.float32]]


class StepPath(ABC):
    """A way to run the step, with a memory of its own.

    Attributes:
        heads: that run in a step.
        dtype: in which the weights are made.
    """

    heads: ClassVar[int] = 1
    dtype: ClassVar[torch.dtype] = torch.float32

    @abstractmethod
    def __init__(self, network: Spann3rNetwork) -> None:
        """Take over a network in ``dtype``, which the path may change."""

    @abstractmethod
    def step(self, frame: Frame) -> Pointmaps:
        """Final pointmaps (h, w, 3) that the frame brought about; none for the first."""


class PublishedPath(StepPath):
    """The published step."""

    heads = 2

    def __init__(self, network: Spann3rNetwork) -> None:
        self._stream = PublishedStep(network, Spann3rParameters())

    def step(self, frame: Frame) -> Pointmaps:
        """By head 1."""
        answer = self._stream.step(preprocess(frame, frame.image.shape[:2]).pixels)
        return [] if answer is None else [answer.refined.points[0].numpy()]


class PlainPath(StepPath):
    """Our step, with the layers as the network has them."""

    def __init__(self, network: Spann3rNetwork) -> None:
        self._model = Spann3r(network, Config(), "random")
        self._memory = self._model.new_memory()

    def step(self, frame: Frame) -> Pointmaps:
        """As the node does it."""
        self._model.image_size = frame.image.shape[:2]
        return [answer.points for answer in self._model.step(frame, self._memory)]


class PackedPath(PlainPath):
    """Our step as ``load_model`` makes it: the large layers packed, all weights in huge pages."""

    def __init__(self, network: Spann3rNetwork) -> None:
        pack_linears(network)
        settle(network)
        super().__init__(network)


class HalfPath(PackedPath):
    """The same in bf16."""

    dtype = torch.bfloat16


class ExportedPath(StepPath):
    """Our step with its stages in ONNX Runtime, exported to a folder that goes with the path."""

    def __init__(self, network: Spann3rNetwork) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name) / "stages"
        config = Config(device="cpu", image_height=SIZE[0], image_width=SIZE[1])
        model = ModelStream(Spann3r(network, config, "random"))
        export_model(ExportTrial(model, network, "spann3r", SIZE, SIZE, 1), folder)
        exported = load_model(Config(device="cpu", backend="onnxruntime", checkpoint=str(folder)))
        assert isinstance(exported, ModelStream)
        self._stream = exported.fresh()

    def step(self, frame: Frame) -> Pointmaps:
        """As the node does it."""
        return [answer.points for answer in self._stream.step(frame)]


PATHS: dict[str, type[StepPath]] = {REFERENCE: PublishedPath, "fp32": PackedPath, "bf16": HalfPath}
"""By their names in the file."""

ONNXRUNTIME = "onnxruntime"
if all(find_spec(name) for name in ("onnx", "onnxruntime")):
    PATHS[ONNXRUNTIME] = ExportedPath

SLOW = ("bf16",)
"""Measured for half as many steps: without instructions of its own it takes a multiple of the others' time."""


@dataclass
class PathRun:
    """What a path did so far: wall and processor seconds of its steps, and its pointmaps."""

    path: StepPath
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    pointmaps: Pointmaps = field(default_factory=list)

    def step(self, frame: Frame) -> None:
        """Run and time one; the first frame, which is only encoded, is not counted."""
        wall, processor = time.perf_counter(), time.process_time()
        found = self.path.step(frame)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        if found:
            self.seconds.append(wall)
            self.processor.append(processor)
            self.pointmaps += found


def measure_full_size(
    frames: int, architecture: Spann3rArchitecture | None = None, names: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """An entry for each path, all run in this process; the peak of the memory is not among the figures.

    Args:
        frames: how many steps are timed; of those in ``SLOW`` half as many.
        architecture: of the network; None: the full size.
        names: of paths, the reference among them; none: all.
    """
    sizes = architecture or Spann3rArchitecture()
    runs = new_runs(sizes, names or tuple(PATHS))
    tokens = (SIZE[0] // sizes.patch_size) * (SIZE[1] // sizes.patch_size)
    gemm, rates = GemmRate(tokens), []
    for index, frame in enumerate(noise(frames + 1)):
        for name, run in runs.items():
            if name not in SLOW or index <= (frames + 1) // 2:
                run.step(frame)
        rates.append(gemm.measure())
    reference = runs[REFERENCE].pointmaps
    held = tokens * (1 + len(reference)) // 2  # a frame more at every step; in the mean over the steps
    return {
        name: _entry(run, gflop_of_step(sizes, SIZE, held, run.path.heads), rates, reference)
        for name, run in runs.items()
    }


def new_runs(sizes: Spann3rArchitecture, names: Sequence[str]) -> dict[str, PathRun]:
    """Paths with copies of the same weights."""
    network = random_network(family("spann3r"), sizes)
    assert isinstance(network, Spann3rNetwork)
    runs = {}
    for name in names:
        path = PATHS[name]
        own = network if name == REFERENCE else copy.deepcopy(network)  # which it does not change
        own.set_precision(path.dtype)
        runs[name] = PathRun(path(own))
        del own
    return runs


def noise(count: int, size: tuple[int, int] = SIZE) -> list[Frame]:
    """Frames of noise of (height, width)."""
    generator = np.random.default_rng(0)
    return [Frame(i, i, "camera", generator.integers(0, 256, (*size, 3), np.uint8)) for i in range(count)]


def _entry(run: PathRun, gflop: float, rates: Sequence[float], reference: Pointmaps) -> dict[str, float]:
    seconds, rate = statistics.median(run.seconds), statistics.median(rates)
    middle, last = relative_errors(run.pointmaps, reference)
    return {
        "seconds_per_frame": seconds,
        "min_seconds_per_frame": min(run.seconds),
        "processor_seconds_per_frame": statistics.median(run.processor),
        "frames": len(run.seconds),
        "gflop_per_frame": gflop,
        "gemm_gflops": rate,
        "limit_ratio": seconds / (gflop / rate),
        "median_relative_error": middle,
        "p99_relative_error": last,
    }


def relative_errors(found: Pointmaps, reference: Pointmaps) -> tuple[float, float]:
    """Median and 99th percentile over all points of the distance to the reference's over the length of that."""
    pairs = list(zip(found, reference, strict=False))
    errors = [np.linalg.norm(a - b, axis=-1) / np.maximum(np.linalg.norm(b, axis=-1), 1e-9) for a, b in pairs]
    return float(np.median(errors)), float(np.percentile(errors, 99))


def peak_rss_mb(name: str, architecture: Spann3rArchitecture | None = None) -> float:
    """Peak of this process, which should do nothing else, after three frames of a path; 10^6 bytes."""
    network = random_network(family("spann3r"), architecture or Spann3rArchitecture(), PATHS[name].dtype)
    assert isinstance(network, Spann3rNetwork)
    run = PathRun(PATHS[name](network))
    for frame in noise(2):
        run.step(frame)
    return _peak_bytes() / 1e6


def _peak_bytes() -> int:
    """Of this program alone. ``ru_maxrss`` begins with what the process that started it held at that moment."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_rss_mb_apart(name: str) -> float:
    """``peak_rss_mb`` in a process of its own; raises DataError when that fails."""
    command = [sys.executable, "-m", "spann3r_ros", "bench", "--threads", str(torch.get_num_threads()), "--peak", name]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise DataError(f"measuring the memory of {name} failed", got=f"exit status {result.returncode}")
    return float(result.stdout.split()[-1])
