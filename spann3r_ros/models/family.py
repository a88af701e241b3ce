"""What a family of networks says about itself: one row of the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from spann3r_ros.config import Config
from spann3r_ros.models.checkpoint.download import OfficialFile

if TYPE_CHECKING:  # a row costs no import of PyTorch
    from torch import nn

    from spann3r_ros.models.base import AnyModel
    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

KINDS = ("streaming", "window", "pair")
"""streaming: one frame at a time, with a memory; window: a set of frames at once; pair: two images."""


class Architecture(Protocol):
    """Sizes of a network: a frozen dataclass of numbers, texts, tuples and further such dataclasses.

    Attributes:
        patch_size: side of a patch in pixels; images are multiples of it.
        image_size: (height, width) in pixels that the weights were made for.
        metric: whether the pointmaps are in meters.
    """

    @property
    def patch_size(self) -> int: ...  # noqa: D102
    @property
    def image_size(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def metric(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Family:
    """One row of the registry. The functions import what they need when they are called.

    Attributes:
        name: as in the parameter ``model``.
        title: how people call it.
        summary: what it does, in one line.
        kind: one of ``KINDS``.
        paper: its number on arXiv.
        memory: what it keeps between frames, and whether that is bounded.
        poses: where the cameras' poses come from: ``network``, or ``PnP`` on its pointmaps.
        architecture: of the official weights; its type is that of every network of the family.
        tiny: of a network that tests make at random and run in milliseconds; that the family keeps its contract is
            tested with it.
        tensors: beginnings of tensor names that all occur in a file of its weights. Of several families that fit, the
            one that names most is meant.
        files: its official weights.
        parameters: a dataclass of its own parameters with their group's name in ``GROUP``, or None.
        network: makes the network of an architecture; reads no file, draws no random numbers on the meta device.
        model: makes the model of (network, configuration, where the weights came from).
        published: the tensors that a network takes, by published name, and the names of those that it does not need.
        architecture_of: the architecture that (file, shapes of the published tensors) tell, and where that stood.
        described: what ``models check`` says about an architecture.
    """

    name: str
    title: str
    summary: str
    kind: str
    paper: str
    memory: str
    architecture: Architecture
    tiny: Architecture
    tensors: tuple[str, ...]
    files: tuple[OfficialFile, ...]
    network: Callable[[Architecture], nn.Module]
    model: Callable[[nn.Module, Config, str], AnyModel]
    published: Callable[[TensorFile], tuple[dict[str, Any], tuple[str, ...]]]
    architecture_of: Callable[[TensorFile, Shapes], tuple[Architecture, str]]
    described: Callable[[Architecture], str]
    parameters: type | None = None
    poses: str = "PnP"

    @property
    def licenses(self) -> tuple[str, ...]:
        """Names of the licenses of its official weights."""
        return tuple(dict.fromkeys(file.license for file in self.files))
