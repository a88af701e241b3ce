"""The model that is exported: in PyTorch, on the CPU, in fp32, whatever family it is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from spann3r_ros.config import RANDOM_WEIGHTS, Config
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.base import WindowSettings
from spann3r_ros.models.checkpoint.reading import read_checkpoint
from spann3r_ros.models.family import DescriptorFamily, Family, NetworkFamily, RelocalizerFamily
from spann3r_ros.models.loading import DEMO_NAME, SHIPPED, checkpoint_path, load_network
from spann3r_ros.models.onnx.exported_model import AnyExported
from spann3r_ros.models.random_weights import random_network
from spann3r_ros.models.registry import all_families, usage

CAMERA_IMAGE = (480, 640)
"""(height, width) of camera images where the network's size is not asked for; most cameras give this aspect."""


@dataclass(frozen=True, eq=False)
class ExportTrial:
    """A model, and what it is tried with.

    Attributes:
        model: of the family.
        network: of the model.
        family: the registry's name.
        images: (height, width) of camera images in pixels.
        image_size: that was asked for, or None for that of the weights.
        window: frames that a model of windows takes at once; 1 for others.
    """

    model: AnyExported
    network: nn.Module
    family: str
    images: tuple[int, int]
    image_size: tuple[int, int] | None
    window: int

    def usage(self, folder: Path) -> str:
        """How the exported folder is used."""
        said = usage(self.family, folder.absolute())
        return f"use it with {said}" + (", backend: onnxruntime" if said.startswith("the parameters") else "")


def load_for_export(config: Config, checkpoint: str, name: str | None = None) -> ExportTrial:
    """The model of weights.

    Args:
        config: its parameters; ``model`` is set to the family that is found.
        checkpoint: a file, ``SHIPPED`` or ``random``.
        name: the family; None: the one that the file tells.

    Raises:
        CheckpointError: weights that are missing, damaged, or of another family.
    """
    wanted = name or config.model
    if checkpoint == RANDOM_WEIGHTS:
        row = _row(wanted)
        network, weights = random_network(row, row.tiny), f"{RANDOM_WEIGHTS} weights of a tiny network"
    else:
        with checkpoint_path("" if checkpoint == SHIPPED else checkpoint) as path:
            found = read_checkpoint(path, wanted=wanted)
            row = _row(found.family)
            if name is not None and row.name != name:
                raise CheckpointError(f"{path} holds weights of another family", got=row.name, expected=name)
            network, weights = (
                load_network(found, torch.device("cpu")),
                DEMO_NAME if checkpoint == SHIPPED else str(path),
            )
    config.precision, config.device, config.backend = "fp32", "cpu", "torch"
    window = 1
    if isinstance(row, Family):
        config.model = row.name
        settings = None if row.parameters is None else config.of(row.parameters)
        window = settings.window if isinstance(settings, WindowSettings) else 1
    asked = (config.image_height, config.image_width) if config.image_height and config.image_width else None
    return ExportTrial(_made(row, network, config, weights), network, row.name, asked or CAMERA_IMAGE, asked, window)


def _row(name: str) -> NetworkFamily:
    rows = all_families()
    if name not in rows:
        raise CheckpointError("--model", got=name, expected=" | ".join(rows))
    return rows[name]


def _made(row: NetworkFamily, network: nn.Module, config: Config, weights: str) -> AnyExported:
    """The row's model, whatever it is for."""
    if isinstance(row, Family):
        return row.model(network, config, weights)
    if isinstance(row, RelocalizerFamily):
        return row.relocalizer(network, weights)
    assert isinstance(row, DescriptorFamily)
    return row.descriptor(network, weights)
