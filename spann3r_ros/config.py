"""Every parameter of the system, once: type, default, unit, range and meaning.

The ROS parameter descriptors, ``config/spann3r.yaml`` and ``docs/parameters.md`` are generated from these dataclasses.
Nested names are joined by dots: ``memory.working_frames``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

from spann3r_ros.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Parameter:
    """What is known of one parameter besides its value.

    Attributes:
        name: dotted name.
        kind: bool, int, float, str or list (of str).
        default: its default value.
        help: what it does, one or two sentences.
        unit: unit of the value, empty when it has none.
        low, high: inclusive range of a number, or None where unbounded.
        choices: the allowed values, or empty when free.
        live: whether it can change while the node runs.
    """

    name: str
    kind: type
    default: Any
    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    live: bool = False

    def range_text(self) -> str:
        """The allowed values, for people."""
        if self.choices:
            return " | ".join(str(choice) for choice in self.choices)
        if self.low is None and self.high is None:
            return ""
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"{low} .. {high}"

    def check(self, value: Any) -> Any:
        """The value, converted losslessly to ``kind``; raises ConfigError for another type or a value out of range."""
        expected = " ".join(filter(None, [self.kind.__name__, self.range_text(), self.unit]))
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.kind is list and isinstance(value, tuple):
            value = list(value)
        wrong_type = type(value) is not self.kind
        if self.kind is list and not wrong_type:
            wrong_type = not all(isinstance(item, str) for item in value)
        wrong_value = not wrong_type and (
            (bool(self.choices) and value not in self.choices)
            or (isinstance(value, float) and not math.isfinite(value))
            or (self.low is not None and value < self.low)
            or (self.high is not None and value > self.high)
        )
        if wrong_type or wrong_value:
            raise ConfigError(f"parameter '{self.name}'", got=repr(value), expected=expected, next_step=self.help)
        return value


def parameter(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] = (),
    live: bool = False,
) -> Any:
    """A dataclass field that carries its description."""
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices, "live": live}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class ModelConfig:
    """Which network runs, on what, and how its answers are given."""

    model: str = parameter("spann3r", "Family of the network; `python -m spann3r_ros models list` shows them.")
    checkpoint: str = parameter("", "File with the weights (.pth or .safetensors). Empty: the small model that ships.")
    device: str = parameter(
        "auto", "Where the network runs; auto takes CUDA when there is one.", choices=("auto", "cpu", "cuda")
    )
    precision: str = parameter(
        "fp32", "Arithmetic of the trunk; pointmap heads and poses are always fp32.", choices=("fp32", "bf16", "fp16")
    )
    output: str = parameter(
        "refined",
        "refined: final pointmaps, one frame late; immediate: no delay, less accurate; both: each frame twice.",
        choices=("refined", "immediate", "both"),
    )
    image_width: int = parameter(
        0,
        "Width that images are resized and cropped to, a multiple of the patch. 0: what the weights were made for.",
        unit="px",
        low=0,
        high=4096,
    )
    image_height: int = parameter(0, "Height likewise.", unit="px", low=0, high=4096)


@dataclass
class MemoryConfig:
    """Size and thresholds of the spatial memory (section 6 of the Spann3R specification; the paper's values)."""

    working_frames: int = parameter(5, "Frames of the working memory.", unit="frames", low=1, high=64)
    long_term_tokens: int = parameter(
        4000,
        "Tokens kept when the long-term memory is pruned; 0 forgets all but the working memory.",
        unit="tokens",
        low=0,
        high=200000,
    )
    attention_threshold: float = parameter(
        5e-4, "Attention weights below this are set to zero.", low=0.0, high=1.0, live=True
    )
    similarity_threshold: float = parameter(
        0.95,
        "A frame more similar than this to one in working memory is not stored; 1 stores all.",
        low=-1.0,
        high=1.0,
        live=True,
    )
    protected_frames: int = parameter(
        5,
        "Frames beyond the working memory that a prune spares (the paper's code: 5; smaller suits small memories).",
        unit="frames",
        low=0,
        high=64,
    )


@dataclass
class MapConfig:
    """The accumulated map and what may enter it."""

    min_confidence: float = parameter(
        0.3, "Points below this confidence stay out of clouds and map.", low=0.0, high=1.0, live=True
    )
    voxel_size: float = parameter(
        0.02,
        "Side of a map voxel, in the unit of the map (metres when the model is metric).",
        unit="map units",
        low=1e-4,
        high=100.0,
        live=True,
    )
    max_range: float = parameter(
        0.0,
        "Points farther than this from their camera stay out of the map; 0: no limit.",
        unit="map units",
        low=0.0,
        high=1e6,
        live=True,
    )
    max_points: int = parameter(
        1_000_000,
        "Most points in the map; beyond it the points seen longest ago make room.",
        unit="points",
        low=1000,
        high=50_000_000,
    )


@dataclass
class PoseConfig:
    """How camera poses are recovered from pointmaps."""

    use_camera_info: bool = parameter(
        True, "Use the calibration of CameraInfo when there is one; otherwise the focal length is estimated."
    )
    samples: int = parameter(2000, "Confident pixels given to PnP.", unit="points", low=16, high=1_000_000, live=True)
    reprojection_error: float = parameter(3.0, "RANSAC inlier threshold.", unit="px", low=0.1, high=100.0, live=True)
    min_inliers: float = parameter(
        0.3, "Share of the samples that must agree, else the pose is unknown.", low=0.0, high=1.0, live=True
    )


@dataclass
class Config(ModelConfig):
    """All parameters of a reconstruction (the ROS node adds its own group)."""

    memory: MemoryConfig = field(default_factory=MemoryConfig)
    map: MapConfig = field(default_factory=MapConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)


def parameters(config_type: type, prefix: str = "") -> Iterator[Parameter]:
    """Every parameter of a configuration class, depth first, in the order of definition."""
    hints = get_type_hints(config_type)
    for entry in dataclasses.fields(config_type):
        kind = hints[entry.name]
        name = prefix + entry.name
        if dataclasses.is_dataclass(kind):
            assert isinstance(kind, type)
            yield from parameters(kind, name + ".")
            continue
        default = entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
        yield Parameter(name, getattr(kind, "__origin__", kind), default, **entry.metadata)


def from_mapping(config_type: type[T], values: Mapping[str, Any]) -> T:
    """A configuration from dotted names; what is not named keeps its default.

    Raises:
        ConfigError: an unknown name (the nearest known ones are listed), a wrong type, or a value out of range.
    """
    known = {entry.name: entry for entry in parameters(config_type)}
    config = config_type()
    for name, value in values.items():
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=3)
            raise ConfigError(
                "unknown parameter",
                got=name,
                expected="one of " + ", ".join(near) if near else "a name of docs/parameters.md",
            )
        target: Any = config
        *groups, leaf = name.split(".")
        for group in groups:
            target = getattr(target, group)
        setattr(target, leaf, known[name].check(value))
    return config


def to_mapping(config: Any) -> dict[str, Any]:
    """Dotted names and values of a configuration."""
    values: dict[str, Any] = {}
    for entry in parameters(type(config)):
        value = config
        for part in entry.name.split("."):
            value = getattr(value, part)
        values[entry.name] = value
    return values
