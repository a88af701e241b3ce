"""From a recipe to a trainer that is ready to run."""

from __future__ import annotations

from pathlib import Path

import torch

from spann3r_ros.blocks.linear_head import LinearHead
from spann3r_ros.models.spann3r_network import Spann3rNetwork
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.training.recipe import Recipe
from spann3r_ros.training.rendered import RenderedSource
from spann3r_ros.training.trainer import Trainer


def new_network(recipe: Recipe) -> Spann3rNetwork:
    """A network with random weights whose first answers lie two metres ahead."""
    torch.manual_seed(recipe.seed)
    network = Spann3rNetwork(recipe.architecture)
    trunk = network.dust3r
    for head in (trunk.downstream_head1, trunk.downstream_head2):
        if isinstance(head, LinearHead):
            torch.nn.init.normal_(head.proj.weight, std=0.02)
            bias = torch.zeros(4, trunk.architecture.patch_size**2)
            # expm1(log 3) = 2
            bias[2] = torch.log(torch.tensor(3.0))
            head.proj.bias.data = bias.flatten()
    return network


def scene_of(recipe: Recipe) -> Scene | None:
    """The fixed scene of a recipe, or None for random ones."""
    if recipe.scene == "random":
        return None
    return Scene.apartment() if recipe.scene == "apartment" else Scene.read(Path(recipe.scene))


def open_session(recipe: Recipe, folder: Path) -> Trainer:
    """A trainer in its first state."""
    network = new_network(recipe)
    source = RenderedSource(scene_of(recipe), recipe.architecture.trunk.image_size)
    return Trainer(network, recipe, source, folder)
