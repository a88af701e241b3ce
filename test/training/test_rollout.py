"""The batched rollout of training does what the streaming model does on a robot."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from tiny_training import ARCHITECTURE, SlantedWalls

from spann3r_ros.config import Config
from spann3r_ros.frame import Frame
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.models.spann3r.parameters import Spann3rParameters
from spann3r_ros.training.data import sequences_from
from spann3r_ros.training.rollout import Rollout, drifted


def network() -> Spann3rNetwork:
    torch.manual_seed(0)
    return Spann3rNetwork(dataclasses.replace(ARCHITECTURE, value_features=True)).eval()


def test_rollout_in_windows_equals_the_stream() -> None:
    net = network()
    clip = SlantedWalls().clip(np.random.default_rng(1), 7, 1.0)
    batch = sequences_from([clip, clip], 8)
    config = Config(output="both")
    settings = config.of(Spann3rParameters)
    settings.similarity_threshold, settings.attention_threshold = 1.0, 0.0
    model = Spann3r(net, config, "test")
    memory = model.new_memory()
    answers = [
        answer for index in range(7) for answer in model.step(Frame(index, index, "camera", clip.images[index]), memory)
    ]
    refined = [answer.points for answer in answers if answer.final]
    immediate = [answer.points for answer in answers if not answer.final]

    rollout, history = Rollout(net, dropout=0.15), None
    left, right = [], []
    no_truth = torch.zeros(2, dtype=torch.bool)
    with torch.no_grad():
        for first in (0, 3):
            window = slice(first, first + 4)
            features, _ = rollout.encode(batch.images[:, window])
            said, written = rollout.run(features, batch.points[:, window], no_truth, history)
            history = rollout.remember(history, written)
            left.append(said.left)
            right.append(said.right)
    np.testing.assert_allclose(torch.cat(left, 1)[0].numpy(), np.stack(refined), rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(torch.cat(right, 1)[1].numpy(), np.stack(immediate), rtol=2e-4, atol=2e-4)
    stored, streamed = history.spatial, memory.spatial
    assert stored.tokens == streamed.tokens
    for name in ("keys", "values", "directions"):
        ours, theirs = getattr(stored, name)[:1, : stored.tokens], getattr(streamed, name)[:, : streamed.tokens]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        stored.attention[:1, : stored.tokens], streamed.attention[:, : streamed.tokens], rtol=1e-3, atol=1e-3
    )


def test_gradients_reach_what_earlier_frames_wrote_to_memory() -> None:
    net = network().train()
    batch = sequences_from([SlantedWalls().clip(np.random.default_rng(1), 3, 1.0)], 8)
    rollout = Rollout(net, dropout=0.0)
    said, _ = rollout.run(rollout.encode(batch.images)[0], batch.points, torch.ones(1, dtype=torch.bool))
    said.left[:, 1].sum().backward()
    for module in (net.value_out, net.attn_head_1[2], net.attn_head_2[2]):
        assert module.weight.grad is not None and float(module.weight.grad.abs().sum()) > 0


def test_true_pointmaps_are_written_only_where_asked() -> None:
    net = network()
    batch = sequences_from([SlantedWalls().clip(np.random.default_rng(1), 3, 1.0)] * 2, 8)
    rollout = Rollout(net)
    said, _ = rollout.run(rollout.encode(batch.images)[0], batch.points, torch.tensor([True, False]))
    assert torch.equal(said.left[0, 0], said.left[1, 0])
    assert not torch.allclose(said.left[0, 1], said.left[1, 1])


def test_drift_is_rigid_grows_with_age_and_spares_the_first_frame() -> None:
    torch.manual_seed(0)
    points = torch.randn(2, 3, 4, 5, 3) + torch.tensor([0.0, 0.0, 2.0])
    moved = drifted(points, torch.tensor([0, 10, 100]), 0.5)
    torch.testing.assert_close(moved[:, 0], points[:, 0], rtol=1e-5, atol=1e-5)
    distance = (moved - points).norm(dim=-1).mean(dim=(2, 3))
    assert (distance[:, 1] > 0.01).all() and (distance[:, 2] > 2 * distance[:, 1]).all()
    for before, after in ((points[1, 2], moved[1, 2]), (points[0, 1], moved[0, 1])):
        before, after = before.flatten(0, 1), after.flatten(0, 1)
        torch.testing.assert_close(torch.cdist(before, before), torch.cdist(after, after), rtol=1e-4, atol=1e-3)
