"""Section ``accuracy`` of the benchmark: what each speed costs, on the model that ships and a rendered walk."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence

import torch

from spann3r_ros.blocks.packed_linear import pack_linears
from spann3r_ros.config import Config
from spann3r_ros.evaluation.full_size import relative_errors
from spann3r_ros.evaluation.shipped_model import errors_of, predict
from spann3r_ros.models.base import ModelStream
from spann3r_ros.models.checkpoint.reading import read_checkpoint
from spann3r_ros.models.loading import load_network, shipped_model
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.renderer import Renderer
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories

SPEEDS = {"fp32_plain": ("fp32", False), "fp32": ("fp32", True), "bf16": ("bf16", True)}
"""Precision, and whether layers are packed: all of them, though those of this small model are not by default."""

PLAIN = "fp32_plain"

DEAREST = 0.02
"""Share of the error that a speed may add and still be a default."""


def measure_accuracy(frames: int, speeds: Sequence[str] = tuple(SPEEDS)) -> dict[str, dict[str, float]]:
    """For each speed the difference of its pointmaps to those of plain fp32, and its errors against the truth.

    Args:
        frames: of the walk.
        speeds: keys of ``SPEEDS``; plain fp32 is always among them.
    """
    scene = Scene.apartment()
    renderer, motion = Renderer(scene), Trajectories(scene).walk(EVALUATION_SEED, frames, style="robot")
    answers = {name: _answers(name, renderer, motion) for name in dict.fromkeys((PLAIN, *speeds))}
    plain = [answer.points for answer in answers[PLAIN]]
    errors = {name: errors_of(found, renderer, motion) for name, found in answers.items()}
    result = {}
    for name, found in answers.items():
        middle, last = relative_errors([answer.points for answer in found], plain)
        result[name] = {
            "median_difference": middle,
            "p99_difference": last,
            "ate_over_path": errors[name].ate,
            "pointmap_error": errors[name].aligned,
            "added_error": errors[name].aligned / errors[PLAIN].aligned - 1.0,
            "frames": frames,
        }
    return result


def _answers(name: str, renderer: Renderer, motion: Sequence[Sim3]) -> list[Prediction]:
    precision, packed = SPEEDS[name]
    with importlib.resources.as_file(shipped_model()) as path:
        network = load_network(read_checkpoint(path), torch.device("cpu"), precision)
    assert isinstance(network, Spann3rNetwork)
    if packed:
        pack_linears(network, least=1)
    stream = ModelStream(Spann3r(network, Config(device="cpu"), name))
    return sorted(predict(stream, renderer, motion), key=lambda answer: answer.frame.index)
