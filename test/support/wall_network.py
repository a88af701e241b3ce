"""A tiny Spann3R whose heads are fitted so that it sees a wavy wall two meters ahead, whatever the images show.

Random weights give pointmaps from which no pose can be told. Here the network is random too, except that the linear
layer of both heads is solved for (ridge regression on the tokens of a few noise images), so that poses, focal lengths,
confidences and depths exist and are plausible. Every other part works as always.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_models import random_frames, tiny_config, tiny_network
from torch import Tensor
from torch.nn import functional

from spann3r_ros.models.checkpoint.reading import write_checkpoint
from spann3r_ros.models.spann3r.model import Spann3r

FOCAL = 55.0
WIDTH, HEIGHT = 64, 48


def write_wall_checkpoint(path: Path, metric: bool = True) -> None:
    """Write the weights to ``path`` (.safetensors)."""
    network = tiny_network(seed=1, absolute_position=True, metric=metric)
    with torch.no_grad():
        network.dust3r.patch_embed.proj.weight.mul_(0.02)  # the place of a patch outweighs its noise
        network.value_out.weight.mul_(0.05)  # and what was said before hardly matters
    patch = network.architecture.trunk.patch_size
    target = functional.pixel_unshuffle(_raw_wall(), patch).flatten(2).transpose(1, 2)[0]  # (tokens, outputs)
    heads = {1: network.dust3r.downstream_head1.proj, 2: network.dust3r.downstream_head2.proj}
    config = tiny_config()
    config.output = "both"
    tokens: dict[int, list[Tensor]] = {1: [], 2: []}

    def answer_perfectly(branch: int, inputs: tuple[Tensor, ...]) -> Tensor:
        tokens[branch].append(inputs[0][0])
        return target[None]

    # The memory keeps what the heads say, so the tokens are those of a network that already sees the wall.
    hooks = [
        head.register_forward_hook(lambda _, inputs, _output, branch=branch: answer_perfectly(branch, inputs))
        for branch, head in heads.items()
    ]
    for seed in range(3):
        model = Spann3r(network, config, "wall")
        memory = model.new_memory()
        for frame in random_frames(12, seed=seed):
            model.step(frame, memory)
    for hook in hooks:
        hook.remove()
    for branch, head in heads.items():
        read = torch.cat([torch.cat([t, torch.ones(len(t), 1)], 1) for t in tokens[branch]]).double()
        wanted = target.double().repeat(len(tokens[branch]), 1)
        gram = read.T @ read + 1e-4 * torch.eye(read.shape[1], dtype=torch.float64)
        solved = torch.linalg.solve(gram, read.T @ wanted).float()
        with torch.no_grad():
            head.weight.copy_(solved[:-1].T)
            head.bias.copy_(solved[-1])
    write_checkpoint(path, network, network.architecture)


def _raw_wall() -> Tensor:
    """(1, 4, H, W) raw outputs whose activation is the wall, with a confidence of 0.75 .. 0.95."""
    v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    x, y = (u - (WIDTH - 1) / 2) / FOCAL, (v - (HEIGHT - 1) / 2) / FOCAL
    depth = 2.0 + 0.3 * torch.sin(4.0 * x) + 0.2 * torch.cos(5.0 * y)
    points = torch.stack([x * depth, y * depth, depth])
    length = points.norm(dim=0)
    confidence = torch.log(5.0 + 4.0 * torch.cos(3.0 * x) * torch.cos(3.0 * y))
    return torch.cat([points / length * torch.log1p(length), confidence[None]])[None]
