"""Exports of tiny networks, written once a test process: exporting takes seconds."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from spann3r_ros.config import Config
from spann3r_ros.models.base import WindowSettings
from spann3r_ros.models.onnx.exporter import export_model
from spann3r_ros.models.onnx.trial import load_for_export
from spann3r_ros.models.registry import FAMILIES, family

_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def config_of(name: str, **values: str) -> Config:
    """Of a family on the CPU; windows of three frames."""
    config = Config(model=name, device="cpu", **values)  # type: ignore[arg-type]
    kind = family(name).parameters if name in FAMILIES else None
    settings = None if kind is None else config.of(kind)
    if isinstance(settings, WindowSettings):
        settings.window, settings.overlap = 3, 1
    return config


@lru_cache
def exported(name: str, checkpoint: str = "random") -> Path:
    """The folder of a family's network, not to be changed."""
    _KEPT.append(tempfile.TemporaryDirectory())
    folder = Path(_KEPT[-1].name) / name
    config = config_of(name)
    export_model(load_for_export(config, checkpoint, name), folder)
    return folder
