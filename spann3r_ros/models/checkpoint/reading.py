"""Weights of a network: read from official files or ours, named one way, checked to the last tensor, loaded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.files.checksum import sha256
from spann3r_ros.models.checkpoint import tensor_file
from spann3r_ros.models.checkpoint.architecture_json import architecture_from_json, architecture_to_json
from spann3r_ros.models.checkpoint.tensor_file import FETCH
from spann3r_ros.models.family import Architecture, Shapes
from spann3r_ros.models.registry import family_of, recognized


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights and what is known about them.

    Attributes:
        path: the file they are mapped from.
        family: the registry's name.
        architecture: of the network that they fit.
        origin: where the architecture was found: the caller, metadata, training arguments, config.json, or shapes.
        state: tensors by published name, each shared one once, without those that inference does not use.
        unused: names of the tensors in the file that were left out of ``state``.
        metadata: text entries of the file.
        opened: what the file was when it was opened.
    """

    path: Path
    family: str
    architecture: Architecture
    origin: str
    state: dict[str, torch.Tensor]
    unused: tuple[str, ...]
    metadata: dict[str, str]
    opened: os.stat_result

    def require_unchanged(self) -> None:
        """Raise CheckpointError when the mapped file was written to since it was opened; another may take its place."""
        try:
            now = self.path.stat()
        except OSError:
            return  # a file without a name stays whole
        if now.st_ino == self.opened.st_ino and _version(now) != _version(self.opened):
            raise CheckpointError(
                f"{self.path} was changed while it was read",
                got=f"{now.st_size:,} bytes",
                expected=f"{self.opened.st_size:,} bytes, untouched",
                next_step="Wait until whatever writes it is done, and load it again",
            )

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file; read when first asked for."""
        return sha256(self.path)

    @property
    def parameters(self) -> int:
        """Numbers in ``state``."""
        return sum(tensor.numel() for tensor in self.state.values())


def read_checkpoint(path: Path | str, architecture: Architecture | None = None, wanted: str = "") -> Checkpoint:
    """Open a file of weights; its tensors are mapped and not yet read.

    Args:
        path: a .pth with the official layout or a .safetensors.
        architecture: of the network, when the caller knows; otherwise from the file's metadata, its training arguments
            or the ``config.json`` beside it, and from the shapes of the tensors.
        wanted: the family that is asked for; it decides where neither names nor architecture tell families apart.

    Raises:
        CheckpointError: as ``read_tensor_file``; another family; tensors too few or contradictory.
    """
    path = Path(path)
    file = tensor_file.read_tensor_file(path)
    opened = path.stat()
    origin = "given"
    if architecture is None and "architecture" in file.metadata:
        with _of_file(path):
            architecture, origin = architecture_from_json(file.metadata["architecture"]), "metadata"
    row = recognized(file.tensors, str(path), wanted if architecture is None else family_of(architecture).name)
    state, unused = row.published(file)
    if architecture is None:
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        with _of_file(path):
            architecture, origin = row.architecture_of(file, shapes)
    if type(architecture) is not type(row.architecture):
        raise CheckpointError(
            f"{path}: the {origin} architecture is of another family",
            got=type(architecture).__name__,
            expected=row.name,
        )
    return Checkpoint(path, row.name, architecture, origin, state, unused, file.metadata, opened)


@contextlib.contextmanager
def _of_file(path: Path) -> Iterator[None]:
    """Name the file in an error about the architecture that it states."""
    try:
        yield
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _version(file: os.stat_result) -> tuple[int, int]:
    return file.st_size, file.st_mtime_ns


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
