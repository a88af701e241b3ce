"""Everything that decides what a training produces, in one dataclass that a YAML file fills."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.training.losses import NORMALIZERS
from spann3r_ros.training.schedule import Curriculum, Stage

T = TypeVar("T")


@dataclass(frozen=True)
class Optimizer:
    """How weights change.

    Attributes:
        learning_rate: of AdamW.
        muon_learning_rate: of Muon, which then takes all matrices of the transformer blocks; 0: AdamW takes everything.
        weight_decay: of matrices, by AdamW.
        betas: of AdamW.
        clip: largest gradient norm.
        accumulate: batches per optimizer step.
        average: decay of the exponential moving average of the weights, which is what is validated and exported.
    """

    learning_rate: float = 1e-3
    muon_learning_rate: float = 0.0
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    accumulate: int = 1
    average: float = 0.995


@dataclass(frozen=True)
class Loss:
    """What is minimized; see ``losses.pointmap_loss``.

    Attributes:
        normalizer: how scales are compared.
        alpha: reward for confidence.
        place: weight of the auxiliary task of a fixed scene: from one image's features alone, say where in the scene
            each patch is. Its head is not exported.
        camera: weight of the same for the camera itself, on single images: its position and rotation, of each patch.
        origin: weight of the same for the first camera: from what the memory answered, say where in the scene it stood.
    """

    normalizer: str = "sequence"
    alpha: float = 0.4
    place: float = 0.0
    camera: float = 0.0
    origin: float = 0.0

    def __post_init__(self) -> None:
        if self.normalizer not in NORMALIZERS:
            raise ConfigError("loss.normalizer", got=self.normalizer, expected=" | ".join(NORMALIZERS))


@dataclass(frozen=True)
class Compute:
    """How fast, not what.

    Attributes:
        threads: of PyTorch on the CPU; 0: its default.
        bf16: mixed precision on CPUs and GPUs that multiply bfloat16 fast.
        compiled: compile encoder and pair step (some minutes at the start).
        checkpoint_minutes: between checkpoints.
        tensorboard: also log for TensorBoard, beside the CSV file.
    """

    threads: int = 0
    bf16: bool = True
    compiled: bool = False
    checkpoint_minutes: float = 5.0
    tensorboard: bool = False


@dataclass(frozen=True)
class Recipe:
    """A training.

    Attributes:
        name: of its folder.
        seed: of every random draw.
        augmentation: strength of the disturbance of colors, 1 for what cameras and light do; less makes a fixed scene
            easier to recognize.
        scene: ``apartment``, ``random`` (a new random scene per sequence) or a scene file; unused with recorded data.
        pool: how many distinct single images are rendered, each shown several times with other colors; 0: every one
            is new. Rendering takes longer than the network needs for an image.
        architecture: of the network; ignored when it begins from existing weights.
        curriculum: what is seen when.
        optimizer: how weights change.
        loss: what is minimized.
        compute: how fast.
        long_term_tokens: of the memory that walks carry along.
        dropout: of the attention to memory.
        validate_every: steps between validations on held-out sequences; 0: never.
    """

    name: str = "training"
    seed: int = 1
    scene: str = "apartment"
    augmentation: float = 1.0
    pool: int = 0
    architecture: Spann3rArchitecture = field(default_factory=Spann3rArchitecture)
    curriculum: Curriculum = field(default_factory=lambda: Curriculum((Stage("clips", 1000, 4, 5),)))
    optimizer: Optimizer = field(default_factory=Optimizer)
    loss: Loss = field(default_factory=Loss)
    compute: Compute = field(default_factory=Compute)
    long_term_tokens: int = 4000
    dropout: float = 0.15
    validate_every: int = 250


def read_recipe(path: Path) -> Recipe:
    """A recipe from a YAML file with the same names; what is not named keeps its default.

    Raises:
        ConfigError: a file that cannot be read, an unknown name or a wrong type.
    """
    return recipe_from(read_content(path))


def read_content(path: Path) -> Mapping[str, Any]:
    """What a recipe's YAML file holds; ConfigError for one that cannot be read or is no mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"recipe {path}", got=str(error), expected="a YAML file") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"recipe {path}", got=type(content).__name__, expected="names and values")
    return content


def recipe_from(content: Mapping[str, Any]) -> Recipe:
    """A recipe from nested mappings, as ``recipe_mapping`` gives them."""
    recipe: Recipe = _convert(content, Recipe, "recipe")
    return recipe


def recipe_mapping(recipe: Recipe) -> dict[str, Any]:
    """Nested mappings of plain values."""
    return dataclasses.asdict(recipe)


def _convert(value: Any, kind: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return dataclass_from(value, kind, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(where, got=repr(value), expected="a list")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(value) != len(arguments):
            raise ConfigError(where, got=repr(value), expected=f"{len(arguments)} values")
        pairs = zip(value, arguments, strict=True)
        return tuple(_convert(item, part, f"{where}[{i}]") for i, (item, part) in enumerate(pairs))
    if origin in (typing.Union, types.UnionType):
        return value
    # PyYAML reads 1e-3 (without a point) as text.
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    if type(value) is not kind:
        raise ConfigError(where, got=repr(value), expected=kind.__name__)
    return value


def dataclass_from(value: Any, kind: type[T], where: str) -> T:
    """A dataclass from a mapping, and those in it from nested ones; ConfigError for an unknown name or a wrong type."""
    if not isinstance(value, Mapping):
        raise ConfigError(where, got=repr(value), expected="a mapping")
    hints = typing.get_type_hints(kind)
    unknown = [name for name in value if name not in hints]
    if unknown:
        raise ConfigError(f"unknown name in {where}", got=", ".join(map(str, unknown)), expected=", ".join(hints))
    return kind(**{name: _convert(item, hints[name], f"{where}.{name}") for name, item in value.items()})
