"""A configuration becomes a stream, whatever kind of model its family is."""

from __future__ import annotations

import numpy as np

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import (
    AnyModel,
    M,
    Model,
    ModelStream,
    PairModel,
    PairSettings,
    Stream,
    WindowModel,
    WindowSettings,
)
from spann3r_ros.models.loading import load_model
from spann3r_ros.models.registry import family
from spann3r_ros.streaming.pairwise import Pairwise
from spann3r_ros.streaming.segmented import Segmented, SegmentedMemory, Segments
from spann3r_ros.streaming.windowed import Windowed


def load_stream(config: Config) -> Stream:
    """The stream that a configuration asks for; raises ConfigError and CheckpointError as ``load_model`` does."""
    return stream_of(load_model(config), config)


def stream_of(model: AnyModel, config: Config) -> Stream:
    """A model as a stream, with an empty memory.

    Args:
        model: of any kind.
        config: the family's own parameters say how a model of pairs or of windows follows a stream, ``submap`` when
            its memory begins anew.

    Raises:
        ConfigError: a family whose parameters do not say so, or parameters that contradict each other.
    """
    whole = _whole(model, config)
    rules = config.submap
    if not rules.frames:
        return whole
    if not isinstance(whole, ModelStream):
        raise ConfigError("parameter 'submap.frames'", got=rules.frames, expected=f"0 for the family {config.model}")
    return _segmented(whole, Segments(rules.frames, rules.overlap, rules.lost_confidence))


def warm_up(stream: Stream) -> None:
    """Two frames of noise through the network, with a memory of their own, so that its kernels are chosen."""
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    trial = stream.fresh()
    for index in range(2):
        trial.step(Frame(index, index, "warm_up", noise))


def shared_frames(model: Model) -> int:
    """How many frames a window of a stream's model has from the one before; 0 for a model of no windows."""
    inner = model.inner if isinstance(model, Segmented) else model
    return inner.settings.overlap if isinstance(inner, Windowed) else 0


def network_of(model: Model) -> str:
    """The fingerprint of the network that runs, whether or not its memory begins anew from time to time."""
    return model.inner.fingerprint if isinstance(model, Segmented) else model.fingerprint


def _segmented(whole: ModelStream[M], segments: Segments) -> ModelStream[SegmentedMemory[M]]:
    return ModelStream(Segmented(whole.model, segments))


def _whole(model: AnyModel, config: Config) -> Stream:
    """The stream without submaps of its own."""
    if isinstance(model, PairModel):
        settings = _settings(config)
        if not isinstance(settings, PairSettings):
            raise _unset(config, settings, "reference and keyframe_confidence")
        return ModelStream(Pairwise(model, settings))
    if isinstance(model, WindowModel):
        settings = _settings(config)
        if not isinstance(settings, WindowSettings):
            raise _unset(config, settings, "window, overlap and join")
        return ModelStream(Windowed(model, settings))
    return model


def _unset(config: Config, settings: object, expected: str) -> ConfigError:
    return ConfigError(f"own parameters of the family {config.model}", got=type(settings).__name__, expected=expected)


def _settings(config: Config) -> object:
    """The own parameters of the family, or None."""
    kind = family(config.model).parameters
    return None if kind is None else config.of(kind)
