"""How a configuration becomes a model that is ready to run."""

from __future__ import annotations

import contextlib
import gc
import importlib.resources
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from spann3r_ros.blocks.packed_linear import MOST_TOKENS, pack_linears, weights_in_memory
from spann3r_ros.config import DEMO_WEIGHTS, RANDOM_WEIGHTS, WEIGHTS_NOTES, Config
from spann3r_ros.errors import CheckpointError, ConfigError, DataError
from spann3r_ros.files.location import location
from spann3r_ros.heap import give_back_freed_memory, keep_freed_memory, use_huge_pages
from spann3r_ros.models.base import AnyModel, PlaceDescriptor, Relocalizer
from spann3r_ros.models.checkpoint.reading import Checkpoint, load_into, read_checkpoint
from spann3r_ros.models.family import Architecture, Family
from spann3r_ros.models.onnx.exported_model import read_exported
from spann3r_ros.models.onnx.manifest import is_exported
from spann3r_ros.models.pixels import target_size
from spann3r_ros.models.processor import PRECISIONS, chosen_precision
from spann3r_ros.models.random_weights import random_network
from spann3r_ros.models.registry import (
    FAMILIES,
    alike,
    descriptor_family,
    family,
    family_of,
    relocalizer_family,
    usage,
)

if TYPE_CHECKING:
    from importlib.abc import Traversable

logger = logging.getLogger(__name__)

_SHIPPED = "apartment.safetensors"

DEMO_NAME = f"{DEMO_WEIGHTS} ({_SHIPPED})"

SHIPPED = "shipped"
"""What the model that ships is called where an empty name would be overlooked."""


def load_model(config: Config) -> AnyModel:
    """The model that a configuration asks for, its weights loaded, on its device, in its precision.

    Args:
        config: ``model``, ``checkpoint`` (empty: the model that ships; ``random``: tiny, with random weights),
            ``checkpoint_mapping``, ``device`` and ``precision`` are used here; the rest is the model's own. In place of
            the precision ``auto`` it says afterwards what was chosen.

    Raises:
        ConfigError: an unknown family, or a device that this machine does not have.
        CheckpointError: weights that are missing, damaged, unsafe, or of another family.
    """
    row = family(config.model)
    device = pick_device(config.device)
    if config.backend == "onnxruntime":
        return _exported_model(config, row, device)
    precision = config.precision = chosen_precision(config.precision, device)
    if config.checkpoint == RANDOM_WEIGHTS:
        # Drawn on the CPU, so that it is the same network on every device.
        network = random_network(row, row.tiny, PRECISIONS[precision]).to(device)
        return row.model(network, config, f"{RANDOM_WEIGHTS} weights of a tiny network")
    with checkpoint_path(config.checkpoint) as path:
        if is_exported(path):
            way_out = "Set backend to onnxruntime, or checkpoint to a file of weights"
            raise CheckpointError(f"{path} holds stages for ONNX Runtime, not weights", next_step=way_out)
        checkpoint = read_checkpoint(path, wanted=row.name)
        if checkpoint.family != row.name:
            raise _of_another_family(checkpoint, row.name, path)
        if checkpoint.origin != "metadata" and len(alike(row)) > 1:
            same = " and ".join(alike(row))
            logger.warning("%s is taken for %s, as model says: weights of %s look the same", path, row.name, same)
        network = load_network(checkpoint, device, precision, config.checkpoint_mapping)
        size = target_size(config, checkpoint.architecture)
        # Packed weights are memory of their own, which mapped ones are not to be.
        if not config.checkpoint_mapping:
            single = [torch.float32] if suits_packing(row, checkpoint.architecture, size) else []
            pack_linears(network, dtypes=[torch.bfloat16, *single])
    if device.type == "cpu":
        settle(network, config.checkpoint_mapping)
    return row.model(network, config, config.checkpoint or DEMO_NAME)


def settle(network: nn.Module, mapped: bool = False) -> None:
    """Arrange memory for a network on the CPU that is ready to run, see ``heap``; weights that are ``mapped`` stay so.

    Convolutions run over channels that lie together, as those of tokens do: a tenth faster on a processor with AVX-512.
    """
    if not mapped:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    keep_freed_memory()
    began = time.monotonic()
    moved, took = use_huge_pages(weights_in_memory(network)), time.monotonic() - began
    logger.log(logging.INFO if took > 1.0 else logging.DEBUG, "%.0f MB in huge pages, in %.1f s", moved / 1e6, took)


def _exported_model(config: Config, row: Family, device: torch.device) -> AnyModel:
    """The model of a folder of exported stages, which ONNX Runtime runs; it is of the size that it was exported for."""
    if config.precision not in ("fp32", "auto"):
        raise ConfigError(
            "parameter 'precision' with backend onnxruntime", got=config.precision, expected="fp32 | auto"
        )
    if config.checkpoint in ("", RANDOM_WEIGHTS):
        raise CheckpointError(
            "parameter 'checkpoint' with backend onnxruntime",
            got=repr(config.checkpoint),
            expected="a folder of exported stages",
            next_step=f"Write one: `python -m spann3r_ros export --checkpoint {config.checkpoint or SHIPPED} --onnx "
            "FOLDER`, and set checkpoint to FOLDER",
        )
    config.precision = "fp32"
    with checkpoint_path(config.checkpoint) as folder:
        exported = read_exported(folder, config.device, device)
    if exported.manifest.family != row.name:
        raise CheckpointError(
            f"{config.checkpoint} holds stages of another family than the parameter 'model' says",
            got=exported.manifest.family,
            expected=row.name,
            next_step=f"Set model to {exported.manifest.family}",
        )
    if exported.manifest.image_size is not None and not (config.image_height or config.image_width):
        config.image_height, config.image_width = exported.manifest.image_size
    for note, meaning in WEIGHTS_NOTES.items():
        if exported.manifest.weights.startswith(note):  # which the name of the folder does not say
            logger.warning("%s: %s", note, meaning)
    weights = f"{exported.manifest.weights}, in ONNX Runtime"
    return exported.driving(lambda network: row.model(network, config, weights))


def suits_packing(row: Family, architecture: Architecture, size: tuple[int, int]) -> bool:
    """Whether layers in fp32 see few enough tokens at a time, for images of (height, width), to gain by packing."""
    patch = architecture.patch_size
    return row.kind != "window" and (size[0] // patch) * (size[1] // patch) <= MOST_TOKENS


def load_relocalizer(checkpoint: Path, device: str = "auto") -> Relocalizer:
    """The relocalizer of a file of weights, in fp32.

    Raises:
        ConfigError: a device that this machine does not have.
        CheckpointError: weights that are missing, damaged, unsafe, or of a family that maps.
    """
    if is_exported(checkpoint):
        exported = read_exported(checkpoint, device, pick_device(device))
        row = relocalizer_family(exported.manifest.family, str(checkpoint))
        return exported.driving(lambda network: row.relocalizer(network, str(checkpoint)))
    found = read_checkpoint(checkpoint)
    row = relocalizer_family(found.family, str(checkpoint))
    return row.relocalizer(load_network(found, pick_device(device)), str(checkpoint))


def load_descriptor(checkpoint: Path, device: str = "auto") -> PlaceDescriptor:
    """The descriptor of places of a file of weights; its encoder is fp16 on CUDA, as published, and fp32 on the CPU.

    Raises:
        ConfigError: a device that this machine does not have.
        CheckpointError: weights that are missing, damaged, unsafe, or of another family.
    """
    if is_exported(checkpoint):
        exported = read_exported(checkpoint, device, pick_device(device))
        row = descriptor_family(exported.manifest.family, str(checkpoint))
        return exported.driving(lambda network: row.descriptor(network, str(checkpoint)))
    found = read_checkpoint(checkpoint)
    row = descriptor_family(found.family, str(checkpoint))
    place = pick_device(device)
    return row.descriptor(load_network(found, place, "fp16" if place.type == "cuda" else "fp32"), str(checkpoint))


def _of_another_family(checkpoint: Checkpoint, wanted: str, path: Path) -> CheckpointError:
    """The refusal of weights that are not of the family that the parameter ``model`` says."""
    if checkpoint.family not in FAMILIES:
        found, way_out = checkpoint.family, f"It maps nothing: use it with {usage(checkpoint.family, path)}"
    else:
        # A file of our own says which of several families of the same names it is of; others do not.
        said = checkpoint.origin == "metadata"
        found = " or ".join((checkpoint.family,) if said else alike(family(checkpoint.family)))
        way_out = (
            f"Set model to {found}, or checkpoint to weights of {wanted} "
            f"({RANDOM_WEIGHTS!r}: a tiny network with random weights, to try the family)"
        )
    return CheckpointError(
        f"{path} holds weights of another family than the parameter 'model' says",
        got=found,
        expected=wanted,
        next_step=way_out,
    )


def load_network(
    checkpoint: Checkpoint, device: torch.device, precision: str = "fp32", mapping: bool = False
) -> nn.Module:
    """The network of a checkpoint in evaluation mode, without gradients.

    The pointmap heads are fp32 in every precision.

    Args:
        checkpoint: the weights, mapped from their file.
        device: where they go.
        precision: a key of ``PRECISIONS``.
        mapping: whether fp32 weights on the CPU may stay mapped. The system may then drop and re-read their pages; but
            who truncates the file ends the process (SIGBUS), and who overwrites it changes them.

    Raises:
        CheckpointError: as ``load_into``, or the file was changed meanwhile.
    """
    network: Any = empty_network(checkpoint.architecture)
    load_into(network, checkpoint if mapping else checkpoint.private())
    network.requires_grad_(False)
    network.set_precision(PRECISIONS[precision])
    ready: nn.Module = network.to(device).eval()
    checkpoint.require_unchanged()
    return ready


def empty_network(architecture: Architecture) -> nn.Module:
    """A network without memory for its weights (on the meta device), to be given those of a checkpoint."""
    with torch.device("meta"):
        return family_of(architecture).network(architecture)


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
    """Give back to the device, and to the system, what is kept of tensors that are gone."""
    gc.collect()
    give_back_freed_memory()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def shipped_model() -> Traversable:
    """Where the model that ships is, in the package; whether it is there, ``is_file()`` tells."""
    return importlib.resources.files("spann3r_ros.models") / "weights" / _SHIPPED


@contextlib.contextmanager
def checkpoint_path(checkpoint: str) -> Iterator[Path]:
    """The file of the parameter ``checkpoint``; for an empty one that which ships in the package."""
    if checkpoint:
        try:
            path = location(checkpoint)
        except DataError as error:
            raise CheckpointError(f"parameter 'checkpoint': {error}") from error
        yield path
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
