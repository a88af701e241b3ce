"""A configuration becomes a stream, whatever kind of model its family is."""

from __future__ import annotations

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.base import ModelStream, PairModel, PairSettings, Stream, WindowModel
from spann3r_ros.models.loading import load_model
from spann3r_ros.models.registry import family
from spann3r_ros.streaming.pairwise import Pairwise


def load_stream(config: Config) -> Stream:
    """The stream that a configuration asks for; raises ConfigError and CheckpointError as ``load_model`` does."""
    model = load_model(config)
    if isinstance(model, PairModel):
        kind = family(config.model).parameters
        settings = config.of(kind) if kind is not None else None
        if not isinstance(settings, PairSettings):
            raise ConfigError(
                f"parameters of the family {config.model}", got=kind, expected="reference and keyframe_confidence"
            )
        return ModelStream(Pairwise(model, settings))
    if isinstance(model, WindowModel):
        raise ConfigError("parameter 'model'", got=config.model, expected="a streaming model")
    return model
