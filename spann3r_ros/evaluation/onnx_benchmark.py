"""ONNX Runtime beside PyTorch: the same frames through the same weights, in turn."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spann3r_ros.config import Config
from spann3r_ros.evaluation.benchmark import random_spann3r
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import ModelStream, Stream
from spann3r_ros.models.loading import load_model
from spann3r_ros.models.onnx.exporter import export_model
from spann3r_ros.models.onnx.trial import CAMERA_IMAGE, ExportTrial, load_for_export
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.prediction import Prediction

WARM_UP = 2
"""Frames that are not counted."""


@dataclass(frozen=True)
class BackendSpeeds:
    """Seconds a frame on this machine, after the first ones.

    Attributes:
        torch, onnxruntime: the shortest.
        torch_processor, onnxruntime_processor: the least of the processor's time, which other programs disturb less.
        difference: largest difference of the final pointmaps, relative to the largest number of PyTorch's.
        frames: that were counted, by each.
    """

    torch: float
    onnxruntime: float
    torch_processor: float
    onnxruntime_processor: float
    difference: float
    frames: int


def full_size_trial() -> ExportTrial:
    """The full-size Spann3R with random weights."""
    network = random_spann3r()
    model = ModelStream(Spann3r(network, Config(device="cpu"), "random weights of full size"))
    return ExportTrial(model, network, "spann3r", CAMERA_IMAGE, None, 1)


def shipped_trial() -> ExportTrial:
    """The model that ships."""
    return load_for_export(Config(device="cpu"), "shipped")


def measure_onnxruntime(trial: ExportTrial, frames: int = 6) -> BackendSpeeds:
    """Export a stream's stages to a folder that is deleted, and let both backends take frames in turn.

    Args:
        trial: of a family of streams.
        frames: that are counted.

    Raises:
        ConfigError: no ONNX Runtime, or no exporter.
    """
    assert isinstance(trial.model, ModelStream)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "onnx"
        export_model(trial, folder)
        exported = load_model(Config(model=trial.family, device="cpu", backend="onnxruntime", checkpoint=str(folder)))
        assert isinstance(exported, ModelStream)
        return _compared((trial.model.fresh(), exported), frames)


def _compared(streams: Sequence[Stream], frames: int) -> BackendSpeeds:
    generator = np.random.default_rng(0)
    seconds: list[list[float]] = [[], []]
    processor: list[list[float]] = [[], []]
    answers: list[list[Prediction]] = [[], []]
    for index in range(WARM_UP + frames):
        frame = Frame(index, index, "camera", generator.integers(0, 256, (*CAMERA_IMAGE, 3), np.uint8))
        for which, stream in enumerate(streams):
            start, used = time.perf_counter(), time.process_time()
            answers[which] += stream.step(frame)
            seconds[which].append(time.perf_counter() - start)
            processor[which].append(time.process_time() - used)
    pairs = zip(*answers, strict=True)
    return BackendSpeeds(
        torch=min(seconds[0][WARM_UP:]),
        onnxruntime=min(seconds[1][WARM_UP:]),
        torch_processor=min(processor[0][WARM_UP:]),
        onnxruntime_processor=min(processor[1][WARM_UP:]),
        difference=max(float(np.abs(a.points - b.points).max() / np.abs(a.points).max()) for a, b in pairs),
        frames=frames,
    )
