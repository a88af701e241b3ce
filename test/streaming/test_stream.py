from __future__ import annotations

from pathlib import Path

import pytest
from geometric_models import FakeStreamingModel, FakeWindowModel, frames_of_the_path
from tiny_models import random_frames, tiny_config
from wall_network import write_wall_checkpoint

from spann3r_ros.config import Config, ModelConfig, SubmapConfig
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.base import ModelStream
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.streaming.stream import stream_of


def test_one_memory_for_the_whole_run_unless_submaps_are_asked_for() -> None:
    model = FakeStreamingModel()
    for frames, expected in ((0, {0}), (10, {0, 1, 2})):
        config = Config(submap=SubmapConfig(frames=frames, overlap=3))
        stream = stream_of(ModelStream(model), config)
        answers = [answer for frame in frames_of_the_path(24) for answer in stream.step(frame)]
        assert {answer.submap for answer in answers} == expected


def test_submaps_of_a_configuration_are_joined(tmp_path: Path) -> None:
    write_wall_checkpoint(tmp_path / "wall.safetensors")
    config = tiny_config()
    config.checkpoint, config.device = str(tmp_path / "wall.safetensors"), "cpu"
    config.map.min_confidence = 0.0
    config.submap.frames, config.submap.overlap = 5, 2
    reconstruction = Reconstruction.from_config(config)
    for frame in random_frames(12):
        reconstruction.process(frame)
    assert [submap.id for submap in reconstruction.map.submaps] == [0, 1, 2, 3]
    assert reconstruction.map.reason.startswith("submap 3 joined to submap 2 over ")
    assert reconstruction.status().counters["segments"] == 4


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (SubmapConfig(frames=4, overlap=4), r"submap.overlap\): got 4; expected 0 \.\. 3"),
        (SubmapConfig(frames=1), r"submap.overlap\): got 4; expected 0 \.\. 0"),
    ],
)
def test_submaps_that_share_all_their_frames_are_refused(rules: SubmapConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stream_of(ModelStream(FakeStreamingModel()), Config(submap=rules))


def test_a_model_of_windows_whose_family_does_not_say_how_it_follows_a_stream_is_refused() -> None:
    assert ModelConfig().model == "spann3r"  # whose parameters know no window
    with pytest.raises(ConfigError, match=r"own parameters of the family spann3r: .*window, overlap and join"):
        stream_of(FakeWindowModel(), Config())
