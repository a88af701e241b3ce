"""Compare the network with recordings of the published one; exit status 1 when it is not equal."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.parity import ParityReport, replay_pairs, replay_sequence, replay_unordered
from spann3r_ros.models.checkpoint.reading import load_into, read_checkpoint
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.dust3r.keywords import trunk_from_config
from spann3r_ros.models.dust3r.network import Dust3rNetwork
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.files import architecture_from_config
from spann3r_ros.models.spann3r.network import Spann3rNetwork


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="weights; several files are merged")
    parser.add_argument("--config", type=Path, nargs="+", required=True, help="JSON of sizes; later files override")
    parser.add_argument("--sequence", type=Path, nargs="+", required=True, help="recordings; several are merged")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="allowed error over a tensor's maximum")


def run(arguments: argparse.Namespace) -> int:
    """Replay, print the worst error of every kind of tensor, and a line that sums it up."""
    config: dict[str, Any] = {}
    for path in arguments.config:
        config |= _read_json(path)
    recording: dict[str, torch.Tensor] = {}
    for path in arguments.sequence:
        recording |= read_tensor_file(path).tensors
    weights: dict[str, torch.Tensor] = {}
    for path in arguments.weights:
        weights |= read_tensor_file(path).tensors

    reports = _replay(config, recording, weights)
    for title, report in reports.items():
        print(f"{title:24} {'worst error':>12}  {'tensors':>7}  at")
        for kind, entry in report.comparisons.items():
            print(f"{kind:24} {entry.error:12.3e}  {entry.count:7d}  {entry.place}")
        for line in report.disagreements:
            print(f"decision differs: {line}")
        if report.unknown:
            print(f"not compared, since nothing of that name is computed: {', '.join(sorted(report.unknown))}")
    error, place = max((report.worst() for report in reports.values()), key=lambda worst: worst[0])
    equal = not any(report.disagreements for report in reports.values())
    print(f"parity: worst {error:.3e} at {place}, decisions equal: {'yes' if equal else 'no'}")
    return 0 if error <= arguments.tolerance and equal else 1


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"configuration {path} cannot be read", got=error, expected="a JSON file") from error
    return content


def _replay(
    config: Mapping[str, Any], recording: Mapping[str, torch.Tensor], weights: dict[str, torch.Tensor]
) -> dict[str, ParityReport]:
    if "cases" in config:
        available = {"dpt": "downstream_head1.dpt.", "linear": "downstream_head1.proj."}
        heads = [head for head in config["heads"] if any(name.startswith(available[head]) for name in weights)]
        return {head: replay_pairs(_dust3r(config, weights, head), head, config, recording) for head in heads}
    if "mem" not in config:
        raise DataError("sequence of a network without a memory", expected="a configuration with 'mem', or 'cases'")
    architecture = architecture_from_config(config)
    with torch.device("meta"):
        network = Spann3rNetwork(architecture)
    _load(network, weights, architecture)
    if "idx_used" in config:
        return {"unordered": replay_unordered(network, config, recording)}
    return {"sequence": replay_sequence(network, config, recording)}


def _dust3r(config: Mapping[str, Any], weights: dict[str, torch.Tensor], head: str) -> Dust3rNetwork:
    architecture = trunk_from_config({**config, "model": {**config["model"], "head_type": head}})
    with torch.device("meta"):
        network = Dust3rNetwork(architecture)
    other = ".proj." if head == "dpt" else ".dpt."
    kept = {
        name: tensor
        for name, tensor in weights.items()
        if not (name.startswith("downstream_head") and name[len("downstream_head1") :].startswith(other))
    }
    _load(network, kept, architecture)
    return network


def _load(
    network: Spann3rNetwork | Dust3rNetwork,
    weights: dict[str, torch.Tensor],
    architecture: Spann3rArchitecture | Dust3rArchitecture,
) -> None:
    """Merged weights take the way of every other file: through the checks of ``read_checkpoint``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file({name: tensor.clone() for name, tensor in weights.items()}, path)
        load_into(network, read_checkpoint(path, architecture))
        network.eval().requires_grad_(False)
