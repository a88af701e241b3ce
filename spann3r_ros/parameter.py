"""What is known of a parameter besides its value: type, default, unit, range and meaning, once.

Configurations are dataclasses whose fields carry it; nested names are joined by dots: ``map.voxel_size``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from spann3r_ros.errors import ConfigError
from spann3r_ros.frame import frame_name

FRAMES = ("world_frame", "odom_frame", "base_frame")
"""Parameters that name a coordinate frame, with or without the leading slash of tf1."""

RENAMED_VALUES = {("cloud", "organised"): "organized"}
"""Values that are called something else now."""


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
        form: what the allowed values look like, where neither range nor choices tell.
        accepts: whether a value is of that form.
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
    form: str = ""
    accepts: Callable[[Any], bool] | None = None
    live: bool = False

    def range_text(self) -> str:
        """The allowed values, for people."""
        if self.choices:
            return " | ".join(str(choice) for choice in self.choices)
        if self.form:
            return self.form
        if self.low is None and self.high is None:
            return ""
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"{low} .. {high}"

    def check(self, value: Any) -> Any:
        """The value, converted losslessly to ``kind``; a frame's name without its leading slash.

        Raises:
            ConfigError: another type, or a value out of range.
        """
        expected = " ".join(filter(None, [self.kind.__name__, self.range_text(), self.unit]))
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) < 1 << 1023 else math.inf
        if isinstance(value, str) and (self.name, value) in RENAMED_VALUES:
            raise ConfigError(
                f"parameter '{self.name}'",
                got=repr(value),
                expected=expected,
                next_step=f"It is called '{RENAMED_VALUES[self.name, value]}' now",
            )
        if self.kind is list and isinstance(value, tuple):
            value = list(value)
        wrong_type = type(value) is not self.kind
        if self.kind is list and not wrong_type:
            wrong_type = not all(isinstance(item, str) for item in value)
        wrong_value = not wrong_type and (
            (bool(self.choices) and value not in self.choices)
            or (self.accepts is not None and not self.accepts(value))
            or (isinstance(value, float) and not math.isfinite(value))
            or (self.low is not None and value < self.low)
            or (self.high is not None and value > self.high)
        )
        if wrong_type or wrong_value:
            raise ConfigError(f"parameter '{self.name}'", got=repr(value), expected=expected, next_step=self.help)
        return frame_name(value) if self.name in FRAMES else value


def parameter(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] = (),
    form: str = "",
    accepts: Callable[[Any], bool] | None = None,
    live: bool = False,
) -> Any:
    """A dataclass field that carries its description."""
    metadata = {
        **{"help": help, "unit": unit, "low": low, "high": high, "choices": choices},
        **{"form": form, "accepts": accepts, "live": live},
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def group_name(kind: type) -> str:
    """What the names of a family's own parameters begin with."""
    name: str = vars(kind)["GROUP"]
    return name


def parameters(config_type: type, groups: Sequence[type] = (), prefix: str = "") -> Iterator[Parameter]:
    """Every parameter of a configuration class, depth first, in the order of definition.

    Args:
        config_type: the class.
        groups: families' own parameters, which a ``Config`` holds in ``groups``.
        prefix: what the names begin with.
    """
    hints = get_type_hints(config_type)
    for entry in dataclasses.fields(config_type):
        kind = hints[entry.name]
        name = prefix + entry.name
        if entry.name == "groups":
            for group in groups:
                yield from parameters(group, prefix=group_name(group) + ".")
            continue
        if dataclasses.is_dataclass(kind):
            assert isinstance(kind, type)
            yield from parameters(kind, prefix=name + ".")
            continue
        default = entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
        yield Parameter(name, getattr(kind, "__origin__", kind), default, **entry.metadata)
