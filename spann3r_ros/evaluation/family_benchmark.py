"""Speed and memory of any family's full-size network on this machine, with random weights on noise."""

from __future__ import annotations

import datetime
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.frame import Frame
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import WindowSettings
from spann3r_ros.models.family import DescriptorFamily, Family, NetworkFamily, RelocalizerFamily
from spann3r_ros.models.processor import PRECISIONS, processor_name
from spann3r_ros.models.random_weights import random_network
from spann3r_ros.models.registry import all_families
from spann3r_ros.models.speeds import FamilySpeed
from spann3r_ros.streaming.stream import stream_of


def measure_family(
    name: str, precision: str, frames: int, device: str, size: tuple[int, int] | None, graphs: bool = False
) -> FamilySpeed:
    """Run the full-size network of a family. The peak is that of the process, which should do nothing else.

    Args:
        name: of the family.
        precision: one of ``PRECISIONS``.
        frames: how many; a family of windows takes them as one window.
        device: ``cpu`` or ``cuda``.
        size: (height, width) of its images, multiples of its patch; None: what the weights were made for.
        graphs: whether CUDA replays recorded work, see the parameter ``cuda_graphs``.

    Raises:
        ConfigError: sizes or numbers of frames that the family cannot take.
    """
    row = all_families()[name]
    height, width = size or row.architecture.image_size
    network = random_network(row, row.architecture, PRECISIONS[precision], device)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    step: Callable[[Frame], object]
    status: Callable[[], MemoryStatus] = MemoryStatus
    window = False
    if isinstance(row, Family):
        config = Config(
            model=name,
            device=device,
            cuda_graphs=graphs,
            image_height=height if size else 0,
            image_width=width if size else 0,
        )
        window = _is_one_window(row, config, frames)
        stream = stream_of(row.model(network, config, "random"), config)
        step, status = stream.step, stream.status
    else:
        step = _asked_alone(row, network)
    generator, seconds = np.random.default_rng(0), []
    for index in range(frames):
        image = generator.integers(0, 256, (height, width, 3), np.uint8)
        start = time.perf_counter()
        step(Frame(index, index, "camera", image))  # answers lie on the host, so the device is done with them
        seconds.append(time.perf_counter() - start)
    steady = sum(seconds) / frames if window else float(np.median(seconds[2:] or seconds))
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _peak_of_process()
    memory = status()
    return FamilySpeed(
        family=name,
        precision=precision,
        height=height,
        width=width,
        frames=frames,
        seconds=steady,
        peak=peak / 1e9,
        weights=weights / 1e9,
        tokens=memory.tokens,
        memory=memory.bytes / 1e9,
        machine=f"{processor_name(device)}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}",
        date=str(datetime.date.today()),
    )


def _is_one_window(row: Family, config: Config, frames: int) -> bool:
    """Whether the family takes all frames at once, which it is then told to."""
    settings: Any = None if row.parameters is None else config.of(row.parameters)
    if not isinstance(settings, WindowSettings):
        return False
    if frames < 2:
        raise ConfigError("--frames of a family of windows", got=frames, expected="2 or more")
    settings.window, settings.overlap = frames, min(settings.overlap, frames - 1)
    return True


def _asked_alone(row: NetworkFamily, network: nn.Module) -> Callable[[Frame], object]:
    """What a network that remembers nothing says about one frame: where it is, or what the place looks like."""
    if isinstance(row, RelocalizerFamily):
        return row.relocalizer(network, "random").locate
    assert isinstance(row, DescriptorFamily)
    describe = row.descriptor(network, "random").describe
    return lambda frame: describe([frame])


def measure_family_apart(
    name: str, precision: str, frames: int, device: str, size: tuple[int, int] | None, graphs: bool = False
) -> FamilySpeed:
    """``measure_family`` in a process of its own; raises DataError when that fails."""
    command = [sys.executable, "-m", "spann3r_ros", "bench", "--family", name, "--precision", precision]
    command += ["--frames", str(frames), "--device", device, "--threads", str(torch.get_num_threads()), "--apart"]
    command += ["--cuda-graphs"] if graphs else []
    if size:
        command += ["--size", *map(str, size)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        why = "killed, most likely for want of memory" if result.returncode < 0 else f"exit {result.returncode}"
        raise DataError(
            f"measuring {name} in {precision} failed", got=why, next_step="fewer --frames or a smaller --size"
        )
    return FamilySpeed(**json.loads(result.stdout.splitlines()[-1]))


def _peak_of_process() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
