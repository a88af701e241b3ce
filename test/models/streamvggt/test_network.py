from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spann3r_ros.memory.kv_cache import KvCache
from spann3r_ros.models.streamvggt.architecture import TINY, StreamVggtArchitecture
from spann3r_ros.models.streamvggt.network import StreamStep, StreamVggtNetwork
from spann3r_ros.models.vggt.architecture import VggtArchitecture
from spann3r_ros.models.vggt.network import VggtNetwork

SIZE = (42, 56)


def make() -> StreamVggtNetwork:
    torch.manual_seed(0)
    network = StreamVggtNetwork(TINY).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def images(count: int) -> Tensor:
    return torch.rand(1, count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def stream(network: StreamVggtNetwork, frames: Tensor, cache: KvCache, shared: bool = True) -> list[StreamStep]:
    steps = []
    for number in range(frames.shape[1]):
        steps.append(network.step(frames[:, number : number + 1], cache, shared))
        cache.commit(steps[-1].received)
    return steps


def test_names_and_shapes_are_those_of_vggt() -> None:
    with torch.device("meta"):
        one, other = StreamVggtNetwork(StreamVggtArchitecture()), VggtNetwork(VggtArchitecture())
    shapes = [{name: tensor.shape for name, tensor in network.state_dict().items()} for network in (one, other)]
    assert shapes[0] == shapes[1] and len(shapes[0]) == 1797 - 394 - 1


@pytest.mark.parametrize("bound", [0, 6])
def test_a_stream_equals_the_causal_graph_with_a_camera_cache_an_iteration(bound: int) -> None:
    network, frames = make(), images(5)
    steps = stream(network, frames, network.new_cache(SIZE, bound, 2), shared=False)
    features, encodings = network.causal(frames)
    torch.testing.assert_close(torch.cat([step.encodings for step in steps], dim=2), encodings, rtol=1e-4, atol=1e-5)
    for layer, tokens in enumerate(features.patches):
        found = torch.cat([step.features.patches[layer] for step in steps])
        torch.testing.assert_close(found, tokens, rtol=1e-4, atol=1e-5)


def test_the_shared_camera_cache_changes_poses_only() -> None:
    network, frames = make(), images(3)
    shared, apart = (stream(network, frames, network.new_cache(SIZE, 0, 2), shared) for shared in (True, False))
    for one, other in zip(shared, apart, strict=True):
        torch.testing.assert_close(one.features.patches[-1], other.features.patches[-1])
        assert not torch.allclose(one.encodings[-1], other.encodings[-1], atol=1e-3)


def test_the_past_does_not_see_the_future() -> None:
    network, frames = make(), images(4)
    features, encodings = network.causal(frames)
    fewer, earlier = network.causal(frames[:, :2])
    torch.testing.assert_close(encodings[:, :, :2], earlier, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features.camera[:, :2], fewer.camera, rtol=1e-4, atol=1e-5)


def test_a_frame_that_is_dropped_is_as_if_it_had_never_been_kept() -> None:
    network, frames = make(), images(5)
    bounded = network.new_cache(SIZE, 4, 2)
    steps = stream(network, frames[:, :4], bounded)
    assert all(step.received is not None and step.received.sum() == pytest.approx(4.0) for step in steps)
    stream(network, frames[:, 4:], bounded)
    assert (bounded.frames, bounded.dropped) == (4, 1)
    born = bounded.tensors()["born"].tolist()
    assert sorted(born)[-2:] == [3, 4] and 0 in born and len(set(born)) == 4
    last = torch.rand(1, 1, 3, *SIZE)
    found = network.step(last, bounded)
    # The same frames in the order of their slots in a cache of their own; frames 0 to 4 were made with all before them.
    whole = network.new_cache(SIZE, 0, 2)
    stream(network, frames, whole)
    for name in whole.shapes:
        for buffers in (whole.keys, whole.values):
            buffers[name][:, :, :4] = buffers[name][:, :, born].clone()
    whole.frames = 4
    expected = network.step(last, whole)
    torch.testing.assert_close(found.features.camera, expected.features.camera, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.encodings, expected.encodings, rtol=1e-4, atol=1e-5)


def test_a_cache_has_the_precision_of_the_aggregator() -> None:
    network = make()
    network.set_precision(torch.bfloat16)
    cache = network.new_cache(SIZE, 4, 1)
    steps = stream(network, images(6), cache)
    assert cache.keys["global"].dtype == torch.bfloat16 and cache.keys["camera"].dtype == torch.float32
    assert steps[-1].encodings.dtype == torch.float32 and torch.isfinite(steps[-1].encodings).all()
