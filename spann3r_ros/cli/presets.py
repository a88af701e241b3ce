"""Presets: parameter files that ship, each a network with the settings that go with it."""

from __future__ import annotations

from pathlib import Path

from spann3r_ros.errors import ConfigError

FOLDER = Path("config") / "presets"


def preset_file(name: str, package: Path | None = None) -> Path:
    """The parameter file of a preset; ConfigError with the names for an unknown one.

    Args:
        name: as the file is called, without its suffix.
        package: the folder of the Python package, from which the files are looked for; by default this one's.
    """
    presets = preset_files(package)
    if name not in presets:
        raise ConfigError("preset", got=repr(name), expected=" | ".join(presets) or "none, since none is installed")
    return presets[name]


def preset_files(package: Path | None = None) -> dict[str, Path]:
    """The presets by name: beside the package in a checkout, else in ``share/spann3r_ros`` of its installation."""
    package = package or Path(__file__).resolve().parents[1]
    places = [package.parent / FOLDER, *(folder / "share" / "spann3r_ros" / FOLDER for folder in package.parents)]
    found = next((place for place in places if place.is_dir()), None)
    return {} if found is None else {path.stem: path for path in sorted(found.glob("*.yaml"))}
