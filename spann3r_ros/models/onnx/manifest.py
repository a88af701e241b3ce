"""What lies in a folder of exported stages, as JSON beside them; read as a stranger's file is read."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from spann3r_ros.errors import CheckpointError, DataError
from spann3r_ros.files.checksum import sha256
from spann3r_ros.files.location import kind_of
from spann3r_ros.files.text import read_text
from spann3r_ros.models.checkpoint.architecture_json import architecture_from_json, architecture_to_json
from spann3r_ros.models.family import Architecture
from spann3r_ros.models.registry import family_of

MANIFEST, OUTSIDE = "manifest.json", "outside.safetensors"
"""Names of the manifest, and of the few tensors that the model reads beside its stages."""

FORMAT = 1

MOST_BYTES = 1 << 20
"""Of a manifest; ours have some kilobytes."""

EXPORT = "Export it again: `python -m spann3r_ros export --checkpoint FILE --onnx FOLDER`"

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""No separator and no leading dot: what is named so lies in the folder."""

Shapes = tuple[tuple[int, ...], ...]

ANY = 0
"""In a shape: a length that may differ from call to call, as the number of frames of a window."""


class StageCall(NamedTuple):
    """What one file of a stage was made for.

    Attributes:
        stage: its name.
        fixed: its keyword arguments as JSON.
        shapes: of its inputs.
    """

    stage: str
    fixed: str
    shapes: Shapes

    @classmethod
    def of(cls, stage: str, fixed: Mapping[str, Hashable], shapes: Shapes) -> StageCall:
        """With the arguments brought to their one form."""
        return cls(stage, json.dumps(fixed, sort_keys=True), shapes)

    def covers(self, other: StageCall) -> bool:
        """Whether what was made for this call takes the other one."""
        if self[:2] != other[:2] or [len(shape) for shape in self.shapes] != [len(shape) for shape in other.shapes]:
            return False
        sides = zip(sum(self.shapes, ()), sum(other.shapes, ()), strict=True)
        return all(side in (ANY, found) for side, found in sides)

    def merged(self, other: StageCall) -> StageCall:
        """The call that covers both, whose inputs have as many dimensions."""
        shapes = tuple(
            tuple(a if a == b else ANY for a, b in zip(one, two, strict=True))
            for one, two in zip(self.shapes, other.shapes, strict=True)
        )
        return StageCall(self.stage, self.fixed, shapes)

    def __str__(self) -> str:
        arguments = "" if self.fixed == "{}" else f" {self.fixed}"
        shapes = ("x".join("any" if side == ANY else str(side) for side in shape) for shape in self.shapes)
        return f"{self.stage}{arguments} of {', '.join(shapes)}"


@dataclass(frozen=True)
class Manifest:
    """What is known of a folder of exported stages.

    Attributes:
        architecture: of the network; its type tells the family.
        weights: where they came from, for people.
        image_size: (height, width) in pixels that was asked for; None: the size that the weights were made for.
        opset: version of ONNX's operators.
        exporter: what made the files, with its version.
        stages: the file of each call.
        sha256: of every file by name.
    """

    architecture: Architecture
    weights: str
    image_size: tuple[int, int] | None
    opset: int
    exporter: str
    stages: Mapping[StageCall, str]
    sha256: Mapping[str, str]

    @property
    def family(self) -> str:
        """The registry's name."""
        return family_of(self.architecture).name

    def to_json(self) -> str:
        """As ``read_manifest`` reads it."""
        content = {
            "format": FORMAT,
            "architecture": json.loads(architecture_to_json(self.architecture)),
            "weights": self.weights,
            "image_size": self.image_size,
            "precision": "fp32",
            "opset": self.opset,
            "exporter": self.exporter,
            "stages": [
                {"stage": call.stage, "fixed": json.loads(call.fixed), "inputs": call.shapes, "file": file}
                for call, file in self.stages.items()
            ],
            "sha256": dict(self.sha256),
        }
        return json.dumps(content, indent=1) + "\n"


def is_exported(path: Path) -> bool:
    """Whether there is a folder of exported stages."""
    return kind_of(path / MANIFEST) == "a file"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, all of whose files are there and as they were when it was written.

    Raises:
        CheckpointError: no such folder, a manifest that is none, names that lead out of the folder, a file that is
            missing, or one that was changed.
    """
    if not is_exported(folder):
        raise CheckpointError(f"{folder} is no folder of exported stages", got=f"no {MANIFEST} in it", next_step=EXPORT)
    try:
        content = json.loads(read_text(folder / MANIFEST, MOST_BYTES))
        manifest = _manifest(content)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise CheckpointError(f"{folder / MANIFEST}: {error}", next_step=EXPORT) from error
        said = error.got if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{folder / MANIFEST} is no manifest", got=str(said)[:200], next_step=EXPORT) from error
    for name, expected in manifest.sha256.items():
        what = kind_of(folder / name)
        if what != "a file":
            raise CheckpointError(f"{folder / name} of the manifest", got=what, expected="a file", next_step=EXPORT)
        found = sha256(folder / name)
        if found != expected:
            raise CheckpointError(
                f"{folder / name} was changed since it was exported",
                got=f"SHA-256 {found}",
                expected=expected,
                next_step=EXPORT,
            )
    return manifest


def _manifest(content: Any) -> Manifest:
    """Of what JSON holds; ValueError, KeyError, TypeError or AttributeError for what is none."""
    _require(content["format"] == FORMAT, f"format {content['format']!r}, and this version reads {FORMAT}")
    _require(content["precision"] == "fp32", f"precision {content['precision']!r}, and only fp32 is exported")
    digests = {_file_name(name): _digest(value) for name, value in content["sha256"].items()}
    stages: dict[StageCall, str] = {}
    for entry in content["stages"]:
        _require(isinstance(entry["fixed"], dict), f"arguments {entry['fixed']!r}")
        shapes = tuple(tuple(_side(side, ANY) for side in shape) for shape in entry["inputs"])
        name = _file_name(entry["file"])
        _require(name in digests, f"file {name} without a SHA-256")
        stages[StageCall.of(_text(entry["stage"]), entry["fixed"], shapes)] = name
    _require(bool(stages), "no stages")
    _require(OUTSIDE in digests, f"no {OUTSIDE}")
    size = content["image_size"]
    asked = None
    if size is not None:
        height, width = size
        asked = (_side(height), _side(width))
    return Manifest(
        architecture=architecture_from_json(json.dumps(content["architecture"])),
        weights=_text(content["weights"]),
        image_size=asked,
        opset=_side(content["opset"]),
        exporter=_text(content["exporter"]),
        stages=stages,
        sha256=digests,
    )


def _file_name(value: object) -> str:
    _require(isinstance(value, str) and FILE_NAME.fullmatch(value) is not None, f"name of a file {value!r}")
    return str(value)


def _digest(value: object) -> str:
    _require(isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None, f"SHA-256 {value!r}")
    return str(value)


def _text(value: object) -> str:
    _require(isinstance(value, str) and len(value) <= 4096, f"text {value!r}")
    return str(value)


def _side(value: object, least: int = 1) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool) and least <= value < 1 << 31
    _require(is_number, f"number {value!r}")
    assert isinstance(value, int)
    return value


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise[:200])
