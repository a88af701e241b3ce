"""Reconstruction of an unordered set of images with Spann3R (paper, section 3.4: offline reconstruction).

All pairs are scored first; the best pair starts, and then always the image follows that the network is surest of.
Images are encoded once; every round decodes each image that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Frame
from spann3r_ros.models.dust3r.network import Layers
from spann3r_ros.models.pointmap import Pointmap, View, to_prediction
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.unordered import UnorderedReconstruction
from spann3r_ros.prediction import Prediction


@dataclass(frozen=True, eq=False)
class _Decoding:
    layers1: Layers
    layers2: Layers
    first: Pointmap
    second: Pointmap

    def score(self) -> float:
        return sum(float((1.0 - 1.0 / pointmap.confidence).mean()) for pointmap in (self.first, self.second))


@torch.inference_mode()
def reconstruct_unordered(model: Spann3r, frames: Sequence[Frame]) -> UnorderedReconstruction:
    """Reconstruct at least two frames whose order means nothing; n images take n (n - 1) + n^2 / 2 decodings.

    Raises:
        FrameError: fewer than two frames.
    """
    if len(frames) < 2:
        raise FrameError("number of frames for an unordered reconstruction", got=len(frames), expected=">= 2")
    network, trunk = model.network, model.network.dust3r
    images = [preprocess(frame, model.image_size) for frame in frames]
    views = [View(frame, image.colors, image.intrinsics) for frame, image in zip(frames, images, strict=True)]
    features = [model.encode(image.pixels) for image in images]
    grid = trunk.grid(images[0].pixels)

    def decode(fused: Tensor, other: int) -> _Decoding:
        layers1, layers2 = trunk.decode(fused, features[other], grid, grid)
        return _Decoding(layers1, layers2, trunk.pointmap(1, layers1, grid), trunk.pointmap(2, layers2, grid))

    def answer(pointmap: Pointmap, index: int) -> Prediction:
        return to_prediction(pointmap, views[index], final=True)

    scores = np.zeros((len(frames), len(frames)))
    for i in range(len(frames)):
        for j in range(len(frames)):
            if i != j:
                scores[i, j] = decode(features[i], j).score()
    first, second = (int(index) for index in np.unravel_index(scores.argmax(), scores.shape))

    order = [first, second]
    todo = [index for index in range(len(frames)) if index not in order]
    spatial = model.new_spatial(features[first])
    pair = decode(features[first], second)
    predictions = []
    while True:
        key = network.key(features[order[-2]], pair.layers1)
        query = network.query(features[order[-1]], pair.layers2)
        directions = functional.normalize(key.float(), dim=-1, eps=1e-12).to(key.dtype)
        similarities = spatial.similarities(directions)
        gate = None if similarities is None else float(similarities.max())
        accepted = spatial.accepts(gate)
        spatial.offer(gate, accepted)
        if accepted:
            value = network.value(pair.first.points, features[order[-2]], grid)
            spatial.insert(directions, network.norm_k(key), network.norm_v(value + key))
        predictions.append(answer(pair.first, order[-2]))
        if not todo:
            break
        content, received = spatial.read(network.norm_q(query))
        spatial.receive(received)
        candidates = [decode(content + query, index) for index in todo]
        best = int(np.argmax([candidate.score() for candidate in candidates]))
        pair = candidates[best]
        order.append(todo.pop(best))
    predictions.append(answer(pair.second, order[-1]))
    return UnorderedReconstruction(order, predictions, scores)
