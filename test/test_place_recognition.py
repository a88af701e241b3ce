from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from geometric_models import FakeStreamingModel, frames_of_the_path

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.loop_search import Sight
from spann3r_ros.models.base import ModelStream
from spann3r_ros.models.checkpoint.reading import write_checkpoint
from spann3r_ros.models.salad.architecture import TINY
from spann3r_ros.models.salad.network import SaladNetwork
from spann3r_ros.place_recognition import relocalization_of, sight_of


def test_places_are_described_by_the_weights_that_are_set_or_by_the_model_itself(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, stream = Config(device="cpu"), ModelStream(FakeStreamingModel())
    assert sight_of(config, stream).describe is None
    config.loops.descriptor = str(tmp_path / "salad.safetensors")
    write_checkpoint(tmp_path / "salad.safetensors", SaladNetwork(TINY), TINY)
    describe = sight_of(config, stream).describe
    assert describe is not None
    vectors = describe(frames_of_the_path(2))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)


def test_what_finds_the_camera_is_as_the_parameter_says() -> None:
    def found(config: Config) -> list[str]:
        sight = Sight(lambda _a, _b: None)
        return [each.name for each in relocalization_of(config, sight, Background(False), Complaints(lambda *_: None))]

    config = Config(device="cpu")
    assert found(config) == []
    config.relocalizer = "retrieval"
    assert found(config) == ["places"]
    config.relocalizer = "posenet"
    with pytest.raises(ConfigError, match="'relocalizer_checkpoint': got ''; expected weights of a relocalizer"):
        found(config)
