"""Scenes by the names that command line and suites give them."""

from __future__ import annotations

from pathlib import Path

from spann3r_ros.errors import ConfigError
from spann3r_ros.synthetic.rooms import random_scene
from spann3r_ros.synthetic.scene import Scene


def scene_named(name: str) -> Scene:
    """The scene called ``apartment`` or ``random:SEED``, or that of a scene file (.yaml).

    Raises:
        ConfigError: another name.
        DataError: a file that holds no scene.
    """
    if name == "apartment":
        return Scene.apartment()
    if name.startswith("random:"):
        seed = name.removeprefix("random:")
        if not seed.isdecimal():
            raise ConfigError("scene", got=name, expected="random:SEED with a whole number >= 0")
        return random_scene(int(seed))
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError("scene", got=name, expected="apartment, random:SEED or a scene file (.yaml)")
    return Scene.read(path)
