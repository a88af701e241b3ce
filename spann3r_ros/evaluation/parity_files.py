"""Files of recorded activations, of weights and of sizes, and which replay of ``parity`` they are for."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
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


def replay_files(
    weights: Sequence[Path], configs: Sequence[Path], recordings: Sequence[Path]
) -> dict[str, ParityReport]:
    """Replay a recording that may be spread over several files.

    Args:
        weights: merged.
        configs: JSON of sizes and decisions; later files override earlier ones.
        recordings: merged.

    Returns:
        A report each, by what was replayed: a head, ``sequence`` or ``unordered``.

    Raises:
        DataError: files that cannot be read, or that hold no recording.
        CheckpointError: weights that do not fit the sizes.
    """
    config: dict[str, Any] = {}
    for path in configs:
        config |= _read_json(path)
    return _replay(config, _merged(recordings), _merged(weights))


def _merged(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The tensors of several files."""
    tensors: dict[str, torch.Tensor] = {}
    for path in paths:
        tensors |= read_tensor_file(path).tensors
    return tensors


def _read_json(path: Path) -> dict[str, Any]:
    """What a JSON file holds."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"configuration {path} cannot be read", got=error, expected="a JSON file") from error
    return content


def _replay(
    config: Mapping[str, Any], recording: Mapping[str, torch.Tensor], weights: dict[str, torch.Tensor]
) -> dict[str, ParityReport]:
    """The replay that the configuration describes."""
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
    """DUSt3R with one kind of head, of which the weights may hold both."""
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
