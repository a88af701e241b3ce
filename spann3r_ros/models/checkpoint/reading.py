"""Weights of a network: read from official files or ours, named one way, checked to the last tensor, loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.models.checkpoint import tensor_file
from spann3r_ros.models.checkpoint.tensor_file import FETCH, TensorFile
from spann3r_ros.models.dust3r.keywords import (
    Architecture,
    Shapes,
    architecture_from_config,
    architecture_from_json,
    architecture_from_shapes,
    architecture_to_json,
    fields_from_constructor,
    fields_from_keywords,
)
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture

# Tensors by which other networks of the field are known, so that their files are refused by name.
_OTHER_FAMILIES = {
    "MASt3R": ("downstream_head1.head_local_features.",),
    "CUT3R": ("dec_blocks_state.", "decoder_embed_state.", "pose_retriever."),
    "Fast3R": ("encoder.enc_blocks.", "net.encoder.enc_blocks."),
    "VGGT or StreamVGGT": ("aggregator.",),
    "Pi3": ("point_decoder.",),
    "CroCo": ("prediction_head.",),
}

# Published tensors without a use in inference.
_UNUSED = re.compile(r"(^|\.)mask_token$|\.scratch\.refinenet4\.resConfUnit1\.")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights and what is known about them.

    Attributes:
        path: the file they are mapped from.
        family: ``spann3r`` or ``dust3r``.
        architecture: of the network that they fit.
        origin: where the architecture was found: the caller, metadata, training arguments, config.json, or shapes.
        state: tensors by published name, each shared one once, without those that inference does not use.
        unused: names of the tensors in the file that were left out of ``state``.
        metadata: text entries of the file.
    """

    path: Path
    family: str
    architecture: Architecture
    origin: str
    state: dict[str, torch.Tensor]
    unused: tuple[str, ...]
    metadata: dict[str, str]

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file; read when first asked for."""
        return tensor_file.sha256(self.path)

    @property
    def parameters(self) -> int:
        """Numbers in ``state``."""
        return sum(tensor.numel() for tensor in self.state.values())


def read_checkpoint(path: Path | str, architecture: Architecture | None = None) -> Checkpoint:
    """Open a file of weights; its tensors are mapped and not yet read.

    Args:
        path: a .pth with the official layout or a .safetensors.
        architecture: of the network, when the caller knows; otherwise from the file's metadata, its training arguments
            or the ``config.json`` beside it, and from the shapes of the tensors.

    Raises:
        CheckpointError: as ``read_tensor_file``; another family; tensors too few or contradictory.
    """
    path = Path(path)
    file = tensor_file.read_tensor_file(path)
    family = _family(file)
    state, unused = _published_state(file)
    if architecture is not None:
        origin = "given"
    else:
        try:
            architecture, origin = _architecture(file, family, {name: tuple(t.shape) for name, t in state.items()})
        except (CheckpointError, ConfigError) as error:
            raise CheckpointError(f"{path}: {error}") from error
    if isinstance(architecture, Spann3rArchitecture) != (family == "spann3r"):
        raise CheckpointError(
            f"{path}: the {origin} architecture is of another family", got=type(architecture).__name__, expected=family
        )
    return Checkpoint(path, family, architecture, origin, state, unused, file.metadata)


def _family(file: TensorFile) -> str:
    names = list(file.tensors)
    for other, prefixes in _OTHER_FAMILIES.items():
        if any(name.startswith(prefixes) for name in names):
            raise CheckpointError(
                f"{file.path} looks like weights of {other}",
                expected="weights of Spann3R or DUSt3R",
                next_step="`python -m spann3r_ros models list` shows the families that this version can run",
            )
    if any(name.startswith("dust3r.enc_blocks.") for name in names):
        return "spann3r"
    if any(name.startswith("enc_blocks.") for name in names):
        return "dust3r"
    raise CheckpointError(
        f"{file.path} holds weights of an unknown network",
        got=f"{len(names)} tensors: {', '.join(names[:5])}, ...",
        expected="names that begin with dust3r.enc_blocks. (Spann3R) or enc_blocks. (DUSt3R)",
        next_step=FETCH,
    )


def _published_state(file: TensorFile) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Each shared tensor once, no unused ones; a second decoder that is missing is a copy of the first."""
    state: dict[str, torch.Tensor] = {}
    unused: list[str] = []
    for name, tensor in file.tensors.items():
        published = re.sub(r"\.scratch\.layer([1-4])_rn\.", _listed_layer, name)
        if _UNUSED.search(name):
            unused.append(name)
        elif published not in state:
            state[published] = tensor
        elif state[published].data_ptr() == tensor.data_ptr() or torch.equal(state[published], tensor):
            unused.append(name)
        else:
            raise CheckpointError(
                f"{file.path}: two tensors that are one in the network differ",
                got=f"{name} and its twin",
                next_step=FETCH,
            )
    if not any("dec_blocks2." in name for name in state):
        for name in [name for name in state if "dec_blocks." in name]:
            # A copy, not the same storage: training must be able to move them apart.
            state[name.replace("dec_blocks.", "dec_blocks2.")] = state[name].clone()
    return state, tuple(unused)


def _listed_layer(match: re.Match[str]) -> str:
    return f".scratch.layer_rn.{int(match.group(1)) - 1}."


def _architecture(file: TensorFile, family: str, shapes: Shapes) -> tuple[Architecture, str]:
    if "architecture" in file.metadata:
        return architecture_from_json(file.metadata["architecture"]), "metadata"
    beside = file.path.with_name("config.json")
    if file.path.suffix == ".safetensors" and beside.is_file():
        return _architecture_beside(beside, shapes), str(beside)
    if family == "dust3r" and file.model is not None:
        where = "training arguments"
        return architecture_from_shapes(shapes, fields_from_constructor(file.model), where), where
    return architecture_from_shapes(shapes, {}, ""), "shapes"


def _architecture_beside(path: Path, shapes: Shapes) -> Architecture:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no JSON", got=error) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} describes no network", got=type(config).__name__, expected="an object")
    if isinstance(config.get("model"), dict):
        return architecture_from_config(config)
    return architecture_from_shapes(shapes, fields_from_keywords(config), str(path))


def differences(expected: Shapes, found: Shapes, limit: int = 5) -> str:
    """What is missing, unexpected or mis-shaped, the first ``limit`` of each; empty when the two agree."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    misshaped = [
        f"{name} {list(found[name])} instead of {list(expected[name])}"
        for name in expected
        if name in found and tuple(found[name]) != tuple(expected[name])
    ]
    parts = []
    for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped)):
        if names:
            more = f" and {len(names) - limit} more" if len(names) > limit else ""
            parts.append(f"{len(names)} {kind}: {', '.join(names[:limit])}{more}")
    return "; ".join(parts)


def load_into(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Give a network the checkpoint's tensors, as they are: no copy, no conversion, nothing missing, nothing left over.

    Args:
        network: built on the meta device, so that it costs no memory; its tensors are replaced by those of the file.
        checkpoint: of the same architecture.

    Raises:
        CheckpointError: names or shapes that differ, or values that are not finite; the network is then as it was.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = differences(expected, {name: tuple(tensor.shape) for name, tensor in checkpoint.state.items()})
    if wrong:
        raise CheckpointError(
            f"{checkpoint.path} does not fit the {checkpoint.family} network",
            got=wrong,
            expected=f"exactly the {len(expected)} tensors of the architecture found in its {checkpoint.origin}",
            next_step=FETCH,
        )
    for name, tensor in checkpoint.state.items():
        if not tensor.is_floating_point():
            raise CheckpointError(f"{checkpoint.path}: tensor {name}", got=tensor.dtype, expected="floating point")
        if not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                f"{checkpoint.path}: tensor {name}",
                got=f"{bad} of {tensor.numel()} values are NaN or infinite",
                next_step=f"The file is damaged or its training diverged. {FETCH}",
            )
    network.load_state_dict(checkpoint.state, strict=True, assign=True)


def write_checkpoint(
    path: Path | str,
    weights: nn.Module | Mapping[str, torch.Tensor],
    architecture: Architecture,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write weights as .safetensors with their architecture, so that ``read_checkpoint`` needs nothing else.

    Args:
        path: of the file; replaced in one step when it exists.
        weights: a network, or tensors by published name.
        architecture: of that network.
        metadata: further entries, for instance how it was trained; texts as they are, anything else as JSON.
        dtype: convert the tensors to this (``torch.float16`` halves the file), or keep theirs.

    Raises:
        CheckpointError: values that are not finite (in ``dtype``).
    """
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    entries = {**(metadata or {}), "architecture": architecture_to_json(architecture)}
    tensor_file.write_tensor_file(Path(path), tensors, entries, dtype)
