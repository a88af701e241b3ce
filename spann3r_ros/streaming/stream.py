"""A configuration becomes a stream, whatever kind of model its family is."""

from __future__ import annotations

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.base import ModelStream, PairModel, PairSettings, Stream, WindowModel, WindowSettings
from spann3r_ros.models.loading import load_model
from spann3r_ros.models.registry import family
from spann3r_ros.streaming.pairwise import Pairwise
from spann3r_ros.streaming.windowed import Windowed


def load_stream(config: Config) -> Stream:
    """The stream that a configuration asks for; raises ConfigError and CheckpointError as ``load_model`` does."""
    model = load_model(config)
    if isinstance(model, PairModel):
        settings = _settings(config)
        if not isinstance(settings, PairSettings):
            raise ConfigError(
                f"parameters of the family {config.model}",
                got=type(settings),
                expected="reference and keyframe_confidence",
            )
        return ModelStream(Pairwise(model, settings))
    if isinstance(model, WindowModel):
        settings = _settings(config)
        if not isinstance(settings, WindowSettings):
            raise ConfigError(
                f"parameters of the family {config.model}", got=type(settings), expected="window, overlap and join"
            )
        return ModelStream(Windowed(model, settings))
    return model


def _settings(config: Config) -> object:
    """The own parameters of the family, or None."""
    kind = family(config.model).parameters
    return None if kind is None else config.of(kind)
