"""What a family of networks says about itself: one row of the registry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from spann3r_ros.config import Config
from spann3r_ros.models.checkpoint.download import OfficialFile

if TYPE_CHECKING:  # a row costs no import of PyTorch
    from torch import nn

    from spann3r_ros.models.base import AnyModel, PlaceDescriptor, Relocalizer
    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

KINDS = ("streaming", "window", "pair", "relocalizer", "descriptor")
"""streaming: one frame at a time, with a memory; window: a set of frames at once; pair: two images; relocalizer: one
image, of which it tells the pose in a scene that it knows, and no points; descriptor: one image, of which it tells a
vector that recognizes the place."""


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


@dataclass(frozen=True, kw_only=True)
class NetworkFamily:
    """What every row of the registry says. The functions import what they need when they are called.

    Attributes:
        name: as in the parameter ``model``, where it is one of its choices.
        title: how people call it.
        summary: what it does, in one line.
        kind: one of ``KINDS``.
        paper: its number on arXiv.
        memory: what it keeps between frames, and whether that is bounded.
        poses: where the cameras' poses come from: ``network``, ``PnP`` on its pointmaps, or ``none``.
        architecture: of the official weights; its type is that of every network of the family.
        tiny: of a network that tests make at random and run in milliseconds; that the family keeps its contract is
            tested with it.
        tensors: beginnings of tensor names that all occur in a file of its weights. Of several families that fit, the
            one that names most is meant.
        other_tensors: the same where a file calls its tensors otherwise.
        files: its official weights.
        network: makes the network of an architecture; reads no file, draws no random numbers on the meta device.
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
    published: Callable[[TensorFile], tuple[dict[str, Any], tuple[str, ...]]]
    architecture_of: Callable[[TensorFile, Shapes], tuple[Architecture, str]]
    described: Callable[[Architecture], str]
    poses: str = "PnP"
    other_tensors: tuple[tuple[str, ...], ...] = ()

    @property
    def licenses(self) -> tuple[str, ...]:
        """Names of the licenses of its official weights."""
        return tuple(dict.fromkeys(file.license for file in self.files))

    def recognizes(self, names: Collection[str]) -> int:
        """How many beginnings of names agree with those of a file's tensors; 0 when these are not of this family."""
        ways = (self.tensors, *self.other_tensors)
        return max((len(way) for way in ways if all_begin(way, names)), default=0)


@dataclass(frozen=True, kw_only=True)
class Family(NetworkFamily):
    """A family that maps: one that the parameter ``model`` can name.

    Attributes:
        model: makes the model of (network, configuration, where the weights came from).
        parameters: a dataclass of its own parameters with their group's name in ``GROUP``, or None.
    """

    model: Callable[[nn.Module, Config, str], AnyModel]
    parameters: type | None = None


@dataclass(frozen=True, kw_only=True)
class RelocalizerFamily(NetworkFamily):
    """A family that only tells poses in a scene that its weights know.

    Attributes:
        relocalizer: makes the model of (network, where the weights came from).
    """

    relocalizer: Callable[[nn.Module, str], Relocalizer]


@dataclass(frozen=True, kw_only=True)
class DescriptorFamily(NetworkFamily):
    """A family that only recognizes places.

    Attributes:
        descriptor: makes the model of (network, where the weights came from).
    """

    descriptor: Callable[[nn.Module, str], PlaceDescriptor]


def all_begin(beginnings: Collection[str], names: Collection[str]) -> bool:
    """Whether each of the beginnings is that of some name."""
    return all(any(name.startswith(beginning) for name in names) for beginning in beginnings)
