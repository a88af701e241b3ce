"""The published step and ours say the same, on the recorded sequence with its repeats, rejections and prunes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import GOLDEN, read_json

from spann3r_ros.blocks import attention
from spann3r_ros.evaluation.parity.recorded_set import loaded
from spann3r_ros.evaluation.parity.spann3r import memory_config
from spann3r_ros.evaluation.published_step import PublishedStep, explicit_attention
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
from spann3r_ros.models.spann3r.files import architecture_from_config
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.models.spann3r.parameters import Spann3rParameters


def test_it_says_what_ours_says_and_stores_what_was_stored() -> None:
    content: dict[str, Any] = read_json("spann3r_tiny_config.json")
    weights = read_tensor_file(GOLDEN / "spann3r_tiny_weights.safetensors").tensors
    network = loaded(Spann3rNetwork, architecture_from_config(content), weights)
    config = memory_config(content, 48, 80)
    images = read_tensor_file(GOLDEN / "spann3r_tiny_sequence.safetensors").tensors["images_u8"]
    published, ours = PublishedStep(network, config.of(Spann3rParameters)), Spann3r(network, config, "recording")
    memory = ours.new_memory()
    log, compared, prunes = {entry["step"]: entry for entry in content["steps"]}, 0, 0
    for index, image in enumerate(images):
        pixels = (image.permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5
        answer, step = published.step(pixels), ours.advance(pixels, memory)
        assert (answer is None) == (step is None)
        if answer is None or step is None:
            continue
        for found, expected in ((answer.refined, step.refined), (answer.immediate, step.immediate)):
            assert expected is not None
            torch.testing.assert_close(found.points, expected.points, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(found.confidence, expected.confidence, rtol=1e-4, atol=1e-4)
        recorded = log[index - 1]
        assert answer.stored != recorded["rejected"] and published.memory.keys.shape[1] == recorded["n_tokens"]
        compared, prunes = compared + 1, prunes + bool(recorded["pruned"])
    assert compared == len(log) >= 6
    assert prunes or len(images) < 15, "the recording reaches its prunes"


def test_our_attention_comes_back_also_after_an_error() -> None:
    ours = attention.attend
    with pytest.raises(RuntimeError), explicit_attention():
        assert attention.attend is not ours
        raise RuntimeError
    assert attention.attend is ours
    query, key, value = torch.randn(3, 1, 2, 7, 8)
    with explicit_attention():
        torch.testing.assert_close(attention.attend(query, key, value), ours(query, key, value))
