"""A tiny network of any family, to try it without its files."""

from __future__ import annotations

import pytest
import torch
from tiny_models import random_frames

from spann3r_ros.config import WEIGHTS_NOTES, Config
from spann3r_ros.models import registry
from spann3r_ros.models.random_weights import random_network
from spann3r_ros.streaming.stream import load_stream


@pytest.mark.parametrize("name", registry.FAMILIES)
def test_every_family_runs_with_them(name: str) -> None:
    config = Config(model=name, checkpoint="random", device="cpu")
    assert WEIGHTS_NOTES[config.weights_note]
    stream = load_stream(config)
    assert stream.model.weights == "random weights of a tiny network"
    frames = random_frames(3, size=(128, 96))
    answers = [answer for frame in frames for answer in stream.step(frame)] + stream.flush()
    assert {answer.frame.index for answer in answers} == {0, 1, 2}


@pytest.mark.parametrize("name", registry.FAMILIES)
def test_they_are_the_same_every_time_and_of_use_for_a_measurement(name: str) -> None:
    row = registry.FAMILIES[name]
    one, other = (random_network(row, row.tiny).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], other[key]) and bool(torch.isfinite(one[key]).all()) for key in one)
    assert all(tensor.device.type == "cpu" for tensor in random_network(row, row.tiny).buffers())
