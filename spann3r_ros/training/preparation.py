"""From a recipe to a trainer that is ready to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from spann3r_ros.blocks.linear_head import LinearHead
from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.evaluation.shipped_model import clip_errors
from spann3r_ros.models.base import ModelStream
from spann3r_ros.models.checkpoint.reading import load_into, read_checkpoint
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.recordings.layouts import open_sequence
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.training.data import Source
from spann3r_ros.training.losses import ALONE
from spann3r_ros.training.processes import Processes
from spann3r_ros.training.recipe import Recipe
from spann3r_ros.training.recorded import RecordedSource
from spann3r_ros.training.rendered import RenderedSource
from spann3r_ros.training.trainer import Trainer


def new_network(recipe: Recipe) -> Spann3rNetwork:
    """A network with random weights whose first answers lie two meters ahead."""
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


def existing_network(path: Path) -> Spann3rNetwork:
    """The network of published or own weights; raises CheckpointError for a file of another family."""
    checkpoint = read_checkpoint(path)
    if not isinstance(checkpoint.architecture, Spann3rArchitecture):
        raise CheckpointError(f"family of {path}", got=checkpoint.family, expected="spann3r")
    network = Spann3rNetwork(checkpoint.architecture)
    load_into(network, checkpoint)
    # Weights that are mapped from the file are read-only; training needs its own.
    state = {name: tensor.detach().float().clone() for name, tensor in network.state_dict().items()}
    network = Spann3rNetwork(checkpoint.architecture)
    network.load_state_dict(state)
    return network


def source_of(recipe: Recipe, size: tuple[int, int], data: Sequence[Path] = ()) -> Source:
    """Recordings when there are any, else the recipe's scene; raises DataError for a path that holds no sequence."""
    if data:
        return RecordedSource([open_sequence(path) for path in data], size)
    scene = None
    if recipe.scene != "random":
        scene = Scene.apartment() if recipe.scene == "apartment" else Scene.read(Path(recipe.scene))
    return RenderedSource(scene, size, recipe.augmentation, pool=recipe.pool)


def open_session(
    recipe: Recipe,
    folder: Path,
    init: Path | None = None,
    data: Sequence[Path] = (),
    device: str = "auto",
    processes: Processes = ALONE,
) -> Trainer:
    """A trainer in its first state.

    Args:
        recipe: what to do.
        folder: for checkpoint and log.
        init: weights to begin with, whose architecture then counts; None: random ones of the recipe's architecture.
        data: bags or dataset folders to learn from instead of the recipe's scene.
        device: ``auto`` takes CUDA when there is one; else any that PyTorch knows.
        processes: which train with this one; all begin with the same weights.

    Raises:
        ConfigError: single images or the place task with data that has no fixed world.
    """
    network = new_network(recipe) if init is None else existing_network(init)
    single = [stage.name for stage in recipe.curriculum.stages if stage.frames < 2 or stage.singles]
    if single and (data or recipe.scene == "random"):
        raise ConfigError(
            f"stages with single images ({', '.join(dict.fromkeys(single))})",
            got="recordings or random scenes",
            expected="one fixed scene, in which an image has a place",
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    source = source_of(recipe, network.architecture.trunk.image_size, data)
    validate = held_out(source.scene) if isinstance(source, RenderedSource) and source.scene is not None else None
    return Trainer(network.to(device), recipe, source, folder, validate, processes)


def held_out(scene: Scene, clips: int = 20) -> Callable[[Spann3rNetwork], dict[str, float]]:
    """Gives the errors of a network on clips of the scene that no training sees, through the streaming model."""

    def validate(network: Spann3rNetwork) -> dict[str, float]:
        stream = ModelStream(Spann3r(network, Config(), "in training"))
        figures = clip_errors(stream, scene, clips)
        return {name: figures.median(name) for name in ("raw", "aligned", "depth")}

    return validate
