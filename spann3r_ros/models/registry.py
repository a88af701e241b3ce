"""The families of networks, one row each, and how a configuration becomes a model that is ready to step.

A module of a family is imported when the family is asked for, not before.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.resources
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.models.base import StreamingModel
from spann3r_ros.models.checkpoint.reading import Checkpoint, load_into, read_checkpoint
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.dust3r.keywords import Architecture
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture

if TYPE_CHECKING:
    from importlib.abc import Traversable

DEMO_WEIGHTS = "demo weights"
"""How ``StreamingModel.weights`` begins for the model that ships: it knows one synthetic apartment and nothing else."""

_SHIPPED = "apartment.safetensors"

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Family:
    """One row of the registry.

    Attributes:
        name: as in the parameter ``model``.
        network: ``module:class`` of the network; built from an architecture, it reads no file.
        model: ``module:class`` of its StreamingModel, made from (network, config, where the weights came from).
        architecture: of the official weights; its type is that of every network of the family.
        summary: what it does, in one line.
        license: of the official weights.
    """

    name: str
    network: str
    model: str
    architecture: Architecture
    summary: str
    license: str


FAMILIES = {
    row.name: row
    for row in (
        Family(
            name="spann3r",
            network="spann3r_ros.models.spann3r.network:Spann3rNetwork",
            model="spann3r_ros.models.spann3r.model:Spann3r",
            architecture=Spann3rArchitecture(),
            summary="a stream of images into one frame, with a spatial memory (Wang and Agapito 2024)",
            license="CC BY-NC-SA 4.0",
        ),
        Family(
            name="dust3r",
            network="spann3r_ros.models.dust3r.network:Dust3rNetwork",
            model="spann3r_ros.models.dust3r.model:Dust3r",
            architecture=Dust3rArchitecture(),
            summary="each image against a reference image, without memory (Wang et al. 2024)",
            license="CC BY-NC-SA 4.0",
        ),
    )
}


def family(name: str) -> Family:
    """The row of a family; ConfigError with the choices for an unknown name."""
    if name not in FAMILIES:
        raise ConfigError("parameter 'model'", got=repr(name), expected=" | ".join(FAMILIES))
    return FAMILIES[name]


def load_model(config: Config) -> StreamingModel:
    """The model that a configuration asks for, its weights loaded, on its device, in its precision.

    Args:
        config: ``model``, ``checkpoint`` (empty: the model that ships), ``device`` and ``precision`` are used here; the
            rest is the model's own.

    Raises:
        ConfigError: an unknown family, or a device that this machine does not have.
        CheckpointError: weights that are missing, damaged, unsafe, or of another family.
    """
    row = family(config.model)
    device = pick_device(config.device)
    with _checkpoint_path(config.checkpoint) as path:
        checkpoint = read_checkpoint(path)
        if checkpoint.family != row.name:
            raise CheckpointError(
                f"{path} holds weights of another family than the parameter 'model' says",
                got=checkpoint.family,
                expected=row.name,
                next_step=f"Set model to {checkpoint.family}, or name a checkpoint of {row.name}",
            )
        network = load_network(checkpoint, device, config.precision)
    weights = config.checkpoint or f"{DEMO_WEIGHTS} ({_SHIPPED})"
    model: StreamingModel = _imported(row.model)(network, config, weights)
    return model


def load_network(checkpoint: Checkpoint, device: torch.device, precision: str = "fp32") -> nn.Module:
    """The network of a checkpoint in evaluation mode, without gradients.

    In fp32 on the CPU the weights stay mapped from the file: they cost memory once, and the system may drop and re-read
    their pages. The pointmap heads are fp32 in every precision.
    """
    network: Any = empty_network(checkpoint.architecture)
    load_into(network, checkpoint)
    network.requires_grad_(False)
    network.set_precision(_PRECISIONS[precision])
    ready: nn.Module = network.to(device).eval()
    return ready


def empty_network(architecture: Architecture) -> nn.Module:
    """A network without memory for its weights (on the meta device), to be given those of a checkpoint."""
    row = next(row for row in FAMILIES.values() if type(row.architecture) is type(architecture))
    with torch.device("meta"):
        network: nn.Module = _imported(row.network)(architecture)
    return network


def pick_device(name: str) -> torch.device:
    """The device of the parameter ``device``: ``auto`` is CUDA where there is one; ConfigError when there is none."""
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        built = torch.version.cuda
        raise ConfigError(
            "parameter 'device'",
            got="cuda",
            expected="auto or cpu, because PyTorch finds no CUDA device here",
            next_step=(
                f"This PyTorch ({torch.__version__}) is built for CUDA {built}: check the driver with nvidia-smi"
                if built
                else f"This PyTorch ({torch.__version__}) is built without CUDA: install one that has it"
            ),
        )
    return torch.device("cuda" if present and name != "cpu" else "cpu")


def release_device_memory() -> None:
    """Give back to the device what PyTorch keeps for tensors that are gone; nothing to do on the CPU."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def shipped_model() -> Traversable:
    """Where the model that ships is, in the package; whether it is there, ``is_file()`` tells."""
    return importlib.resources.files("spann3r_ros.models") / "weights" / _SHIPPED


@contextlib.contextmanager
def _checkpoint_path(checkpoint: str) -> Iterator[Path]:
    """The file of the parameter ``checkpoint``; for an empty one that which ships in the package."""
    if checkpoint:
        yield Path(checkpoint).expanduser()
        return
    shipped = shipped_model()
    if not shipped.is_file():
        raise CheckpointError(
            "this installation has no model of its own",
            got=f"no file {shipped}",
            next_step="Set the parameter `checkpoint`; `python -m spann3r_ros models list` shows where weights are",
        )
    with importlib.resources.as_file(shipped) as path:
        yield path


def _imported(where: str) -> Any:
    module, name = where.split(":")
    return getattr(importlib.import_module(module), name)
