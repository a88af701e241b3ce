"""PoseNet: recorded images through the network as its authors run it and as the PyTorch port does, and the loss."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import RecordedSet, Recording, entries, loaded
from spann3r_ros.models.posenet.architecture import MODULES, PosenetArchitecture, Widths
from spann3r_ros.models.posenet.crop import central_corner, crops
from spann3r_ros.models.posenet.files import LAYERS
from spann3r_ros.models.posenet.loss import pose_loss, pose_loss_parts
from spann3r_ros.models.posenet.mean_image import MEAN_IMAGE
from spann3r_ros.models.posenet.network import PoseAnswer, PosenetNetwork

WAYS: Mapping[str, Mapping[str, Any]] = {
    "published": {"pool": "ceil", "channels": "bgr", "unit_quaternion": False},
    "port": {"pool": "padded", "channels": "rgb", "unit_quaternion": True},
}
"""How the authors' definition and the port differ, by the beginning of a case's name."""


def replay(recorded: RecordedSet) -> dict[str, ParityReport]:
    """Replay every case; the loss is of the published ones as a batch."""
    config = recorded.config
    cases = [case["name"] for case in config["cases"]]
    means = {n.split("/")[0]: t for n, t in recorded.recording.items() if n.endswith("/mean_image_rgb_u8")}
    mean = next(iter(means.values()), None)
    if mean is None:
        raise DataError(f"recording {recorded.title} without a mean image", expected="a tensor CASE/mean_image_rgb_u8")
    weights = {**recorded.weights, MEAN_IMAGE: mean.permute(2, 0, 1).float().contiguous()}
    crop = {case["name"]: case.get("crop") for case in config["cases"]}
    reports: dict[str, ParityReport] = {}
    published: list[list[PoseAnswer]] = []
    for way, fields in WAYS.items():
        network = loaded(PosenetNetwork, _architecture(config, mean, fields), weights)
        for case in (name for name in cases if name.startswith(f"{way}_")):
            tensors = entries(recorded.recording, f"{case}/")
            shown = case.replace(way, "published")
            network.mean_image.copy_(means.get(shown, mean).permute(2, 0, 1))
            image = recorded.recording[f"{shown}/image_u8"].numpy()
            report, answers = _replay_image(network, case, image, tensors, crop[case])
            reports[case] = report
            if way == "published":
                published.append(answers)
    if "loss" in cases:
        reports["loss"] = _replay_loss(published, entries(recorded.recording, "loss/"))
    return reports


def _architecture(config: Mapping[str, Any], mean: Tensor, fields: Mapping[str, Any]) -> PosenetArchitecture:
    """The sizes that a configuration lists by the authors' names of the layers."""
    authors = {ours: names[0] for ours, names in LAYERS.items()}
    layers = config["model"]["layers"]

    def outputs(layer: str) -> int:
        return int(layers[authors[layer]][0][0])

    def module(name: str) -> Widths:
        parts = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
        one, reduce3, three, reduce5, five, pooled = (outputs(f"inception{name}.{part}") for part in parts)
        return one, reduce3, three, reduce5, five, pooled

    a, b, c, d, e, f, g, h, i = (module(name) for name in MODULES)
    return PosenetArchitecture(
        stem=(outputs("conv1"), outputs("conv2"), outputs("conv3")),
        inceptions=(a, b, c, d, e, f, g, h, i),
        projection=outputs("pose1.conv"),
        auxiliary_hidden=outputs("pose1.fc"),
        hidden=outputs("pose3.fc"),
        mean_size=(mean.shape[0], mean.shape[1]),
        **fields,
    )


@torch.inference_mode()
def _replay_image(
    network: PosenetNetwork, case: str, image: np.ndarray[Any, Any], recorded: Recording, crop: object
) -> tuple[ParityReport, list[PoseAnswer]]:
    """One image: where it is cut, every stage of the trunk, and every regressor."""
    report = ParityReport()
    corner = central_corner(image.shape[1], image.shape[0], network.architecture)
    if crop is not None:
        report.decide(f"{case}.crop", list(corner), crop)
    pixels = crops(image, [corner], network.mean_image)
    hooks, layers = _probes(network)
    stages = network.stages(pixels)
    answers = network.answers(pixels)
    for hook in hooks:
        hook.remove()
    found = dict(_published_names(stages, layers, answers) if case.startswith("published") else _port_names(stages))
    found |= {f"cls{head}_{name}": tensor for head, name, tensor in _regressor_names(layers, answers)}
    for name, tensor in recorded.items():
        strided = re.fullmatch(r"(.+)_s(\d+)", name)  # of a map only every N-th row and column was recorded
        plain, stride = (strided[1], int(strided[2])) if strided else (name, 1)
        if plain in found:
            whole = found[plain]
            report.compare(name, f"{case}/{name}", whole[..., ::stride, ::stride] if strided else whole, tensor)
        elif not re.match(r"(mean_)?image", name):
            report.unknown.add(f"{case}/{name}")
    return report, answers


def _probes(network: PosenetNetwork) -> tuple[list[Any], dict[str, Tensor]]:
    """Hooks that fill a dictionary with what the inner layers of the regressors give, by our names."""
    layers: dict[str, Tensor] = {}

    def probe(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        def keep(_module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            layers[f"{name}.input"], layers[name] = inputs[0], output

        return keep

    names = [f"pose{head}.{part}" for head in (1, 2, 3) for part in ("conv", "fc", "fc_wpqr")]
    present = dict(network.named_modules())
    return [present[name].register_forward_hook(probe(name)) for name in names if name in present], layers


def _published_names(
    stages: Mapping[str, Tensor], layers: Mapping[str, Tensor], answers: list[PoseAnswer]
) -> Iterator[tuple[str, Tensor]]:
    """Blobs by the authors' names."""
    for theirs, ours in {"conv1": "conv1", "reduction2": "conv2", "conv2": "conv3"}.items():
        yield theirs, stages[ours]
    for name in ("pool1", "norm1", "norm2", "pool2"):
        yield name, stages[name]
    for number, name in enumerate(MODULES, start=1):
        yield f"icp{number}_out", stages[name]
    inputs = ("pool2", "3a", "pool3", "4a", "4b", "4c", "4d", "pool4", "5a")
    for number, name in enumerate(inputs, start=1):
        yield f"icp{number}_in", stages[name]
    for head in (1, 2):
        yield f"cls{head}_pool", layers[f"pose{head}.conv.input"]
        yield f"cls{head}_reduction", functional.relu(layers[f"pose{head}.conv"])
    yield "cls3_pool", layers["pose3.fc.input"][..., None, None]
    for head, answer in enumerate(answers, start=1):
        yield f"cls{head}_fc_xyz", answer.position
        yield f"cls{head}_fc_wpqr", answer.quaternion
    yield "pose", torch.cat([answers[-1].position, functional.normalize(answers[-1].quaternion)], dim=1)[0]


def _port_names(stages: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Outputs of the port's modules, two of which end with a pool."""
    yield "before_inception", stages["pool2"]
    for name in MODULES:
        yield f"inception_{name}", stages[{"3b": "pool3", "4e": "pool4"}.get(name, name)]


def _regressor_names(layers: Mapping[str, Tensor], answers: list[PoseAnswer]) -> Iterator[tuple[int, str, Tensor]]:
    """What both recordings have of a regressor."""
    for head, answer in enumerate(answers, start=1):
        yield head, "fc1", functional.relu(layers[f"pose{head}.fc"])
        yield head, "xyz", answer.position
        yield head, "wpqr", answer.quaternion
        yield head, "wpqr_raw", layers[f"pose{head}.fc_wpqr"]


def _replay_loss(published: list[list[PoseAnswer]], recorded: Recording) -> ParityReport:
    """The published loss of the published cases as one batch, in double precision."""
    report = ParityReport()
    answers = [
        PoseAnswer(
            torch.cat([answer.position for answer in head]).double(),
            torch.cat([answer.quaternion for answer in head]).double(),
        )
        for head in zip(*published, strict=True)
    ]
    target = recorded["target"].double()
    report.compare("parts", "loss/parts", pose_loss_parts(answers, target), recorded["parts"])
    report.compare("total", "loss/total", pose_loss(answers, target).view(1), recorded["total"])
    report.unknown |= {f"loss/{name}" for name in recorded if name not in ("target", "parts", "total")}
    return report
