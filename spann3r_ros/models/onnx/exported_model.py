"""A model whose stages lie exported in a folder, in place of a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.errors import CheckpointError, ConfigError, FrameError
from spann3r_ros.models.base import AnyModel, ModelStream, PlaceDescriptor, Relocalizer
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
from spann3r_ros.models.onnx.manifest import EXPORT, OUTSIDE, Manifest, StageCall, read_manifest
from spann3r_ros.models.onnx.runtime import StageSession, chosen_providers
from spann3r_ros.models.registry import family_of

logger = logging.getLogger(__name__)

AnyExported: TypeAlias = "AnyModel | Relocalizer | PlaceDescriptor"

T = TypeVar("T", bound=AnyExported)


@runtime_checkable
class Staged(Protocol):
    """A model whose network runs in stages.

    Attributes:
        stages: the functions of tensors that its network consists of, by name; the first dimension of all inputs and
            outputs is that of the batch, whose items do not know of each other.
        outside: beginnings of the names of the few tensors that it reads beside them.
        weights: see ``Model``.
    """

    stages: dict[str, Captured]
    outside: tuple[str, ...]
    weights: str


def staged(model: AnyExported) -> Staged:
    """The model of stages in whatever a family gives; ConfigError for one that runs in one piece."""
    inner: object = model.model if isinstance(model, ModelStream) else model
    if not isinstance(inner, Staged):
        raise ConfigError(
            f"the family {getattr(inner, 'name', type(inner).__name__)} cannot be exported to ONNX",
            got="a network that is not cut into stages of fixed shapes",
            next_step="Use it with the parameter backend: torch; docs/onnx.md lists the families that can be exported",
        )
    return inner


@dataclass(frozen=True, eq=False)
class ExportedNetwork:
    """A network without the weights of its stages, and the stages.

    Attributes:
        network: has the tensors outside of the stages; all others are on the meta device and take no memory.
        manifest: of the folder.
        sessions: of every call that was exported.
    """

    network: nn.Module
    manifest: Manifest
    sessions: Mapping[StageCall, StageSession]

    def driving(self, made: Callable[[nn.Module], T]) -> T:
        """The model that is made of the network; its stages run in ONNX Runtime.

        Raises:
            CheckpointError: a tensor that the model reads itself was not exported.
        """
        try:
            model = made(self.network)
        except NotImplementedError as error:  # the answer of a tensor without memory to whoever reads it
            raise CheckpointError(
                f"tensors of the {self.manifest.family} network that are missing in {OUTSIDE}", next_step=EXPORT
            ) from error
        for name, stage in staged(model).stages.items():
            stage.let(_ExportedStage(name, self.sessions))
        return model


class _ExportedStage:
    """A stage by its sessions, as the function that it was exported from."""

    def __init__(self, name: str, sessions: Mapping[StageCall, StageSession]) -> None:
        self._name, self._sessions = name, sessions

    def __call__(self, *inputs: Tensor, **fixed: Hashable) -> tuple[Tensor, ...]:
        batch = {len(tensor) for tensor in inputs}
        if batch != {1} and len(batch) == 1:  # an exported stage takes one item, and items do not know of each other
            parts = [self(*(tensor[item : item + 1] for tensor in inputs), **fixed) for item in range(*batch)]
            return tuple(torch.cat(outputs) for outputs in zip(*parts, strict=True))
        call = StageCall.of(self._name, fixed, tuple(tuple(tensor.shape) for tensor in inputs))
        session = next((session for known, session in self._sessions.items() if known.covers(call)), None)
        if session is None:
            known = [str(other) for other in self._sessions if other.stage == self._name]
            raise FrameError(
                "stage of the exported network",
                got=call,
                expected=" | ".join(known) or "none: it was not exported",
                next_step=f"Give images of the size that it was exported for. {EXPORT}, with --image-size and --set",
            )
        return session.run(*inputs)


def read_exported(folder: Path, device: str, place: torch.device) -> ExportedNetwork:
    """A folder that ``export_model`` wrote.

    Args:
        folder: where it is.
        device: the parameter, which chooses ONNX Runtime's providers.
        place: where the tensors outside of the stages go.

    Raises:
        ConfigError: no ONNX Runtime, or none for the device.
        CheckpointError: as ``read_manifest``, or tensors that are not those of the network.
    """
    providers = chosen_providers(device)
    manifest = read_manifest(folder)
    network = network_with(manifest, folder / OUTSIDE, place)
    sessions = {call: StageSession(folder / file, providers) for call, file in manifest.stages.items()}
    names = [name.removesuffix("ExecutionProvider") for name in providers]
    logger.info("%d stages of %s run in ONNX Runtime on %s", len(sessions), folder, ", ".join(names))
    return ExportedNetwork(network, manifest, sessions)


def network_with(manifest: Manifest, path: Path, place: torch.device) -> nn.Module:
    """The network of a manifest, of whose tensors only those of a file take memory."""
    with torch.device("meta"):
        network: Any = family_of(manifest.architecture).network(manifest.architecture)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    tensors = read_tensor_file(path).tensors
    wrong = [name for name, tensor in tensors.items() if expected.get(name) != tuple(tensor.shape)]
    if wrong or any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        raise CheckpointError(
            f"{path} does not fit the {manifest.family} network",
            got=", ".join(wrong[:5]) or "tensors of other types than float32",
            expected="float32 tensors of the architecture in the manifest",
            next_step=EXPORT,
        )
    # Copies: the file may be replaced while the model runs.
    network.load_state_dict({name: tensor.clone().to(place) for name, tensor in tensors.items()}, False, True)
    ready: nn.Module = network.requires_grad_(False).eval()
    return ready
