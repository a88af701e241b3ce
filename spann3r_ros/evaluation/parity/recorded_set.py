"""Recordings of a published network on disk: a JSON of sizes and decisions, weights, and recorded tensors.

A set is named by its configuration: ``vggt_tiny_config.json`` goes with ``vggt_tiny_*.safetensors`` beside it. Those
with ``weights`` in the name are weights, the others recordings. A further ``vggt_tiny_X.json`` overrides parts of the
configuration for the recording ``vggt_tiny_X.safetensors``, which is then a set of its own.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spann3r_ros.errors import CheckpointError, DataError
from spann3r_ros.models.checkpoint.reading import load_into, read_checkpoint
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
from spann3r_ros.models.family import Architecture

Recording = Mapping[str, Tensor]
SUFFIX = "_config.json"

A = TypeVar("A", bound=Architecture)
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class RecordedSet:
    """What was recorded of one network.

    Attributes:
        title: for people: the stem of the files' names.
        config: sizes, cases and decisions.
        weight_files: the network's weights; several are merged.
        recording_files: the recorded tensors; several are merged.
    """

    title: str
    config: Mapping[str, Any]
    weight_files: tuple[Path, ...]
    recording_files: tuple[Path, ...]

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The merged weights by published name; DataError when the set has none."""
        self.require_weights()
        return _merged(self.weight_files)

    def require_weights(self) -> None:
        """Raise DataError when the set has no weights; sets of alignments need none."""
        if not self.weight_files:
            raise DataError(
                f"recording {self.title} of a network",
                got="no weights beside its configuration",
                expected="*.safetensors with the beginning of its name and `weights` in the rest",
            )

    @cached_property
    def recording(self) -> Recording:
        """The merged recorded tensors."""
        return _merged(self.recording_files)


def entries(recording: Recording, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in recording.items() if name.startswith(prefix)}


def named_sets(
    weights: Sequence[Path], configs: Sequence[Path], recordings: Sequence[Path], title: str
) -> list[RecordedSet]:
    """The one set of files that are named one by one; later configurations override earlier ones."""
    config: dict[str, Any] = {}
    for path in configs:
        config |= read_json(path)
    return [RecordedSet(title, config, tuple(weights), tuple(recordings))]


def found_sets(place: Path) -> list[RecordedSet]:
    """The sets of a folder, or of one configuration, by the names of the files.

    Raises:
        DataError: no such file or folder, or no recording beside a configuration.
    """
    configs = sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place]
    if not configs:
        raise DataError("folder of recordings", got=place, expected=f"a file *{SUFFIX} in it")
    return [found for config in configs for found in _sets_of(config)]


def _sets_of(path: Path) -> list[RecordedSet]:
    config = read_json(path)
    if not path.name.endswith(SUFFIX):
        raise DataError("configuration of a recording", got=path.name, expected=f"a name that ends with {SUFFIX}")
    stem = path.name.removesuffix(SUFFIX)
    files = sorted(path.parent.glob(f"{stem}_*.safetensors"))
    weights = tuple(file for file in files if "weights" in file.stem[len(stem) :])
    own = [file for file in files if file not in weights and file.with_suffix(".json").is_file()]
    shared = tuple(file for file in files if file not in weights and file not in own)
    if not shared and not own:
        raise DataError(f"no recording beside {path}", expected=f"{stem}_*.safetensors")
    sets = [RecordedSet(stem, config, weights, shared)] if shared else []
    for file in own:
        sets.append(RecordedSet(file.stem, config | read_json(file.with_suffix(".json")), weights, (file,)))
    return sets


def loaded(make: Callable[[A], N], architecture: A, weights: Mapping[str, Tensor]) -> N:
    """A network in fp32 on the CPU with recorded weights, which take the way of every other file.

    Args:
        make: the class of the network.
        architecture: its sizes.
        weights: by published name.

    Raises:
        CheckpointError: weights that do not fit the sizes.
    """
    with torch.device("meta"):
        network = make(architecture)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file({name: tensor.clone() for name, tensor in weights.items()}, path)
        try:
            load_into(network, read_checkpoint(path, architecture))
        except CheckpointError as error:  # which names a file that the user never saw
            raise CheckpointError(str(error).replace(str(path), "the file of recorded weights")) from error
    return network.eval().requires_grad_(False)


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; DataError for one that cannot be read or is no object."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"configuration {path} cannot be read", got=error, expected="a JSON file") from error
    if not isinstance(content, dict):
        raise DataError(f"configuration {path}", got=type(content).__name__, expected="an object")
    return content


def _merged(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The tensors of several files."""
    tensors: dict[str, Tensor] = {}
    for path in paths:
        tensors |= read_tensor_file(path).tensors
    return tensors
