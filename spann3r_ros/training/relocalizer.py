"""Training of PoseNet on a recording with poses (Kendall et al. 2015, section 3): recipe, first weights, loop."""

from __future__ import annotations

import csv
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.files.atomic import replacing_file
from spann3r_ros.models.checkpoint.architecture_json import architecture_to_json
from spann3r_ros.models.checkpoint.reading import differences, load_into, read_checkpoint, write_checkpoint
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
from spann3r_ros.models.posenet.architecture import PosenetArchitecture, scaled
from spann3r_ros.models.posenet.classifier import is_classifier, trunk
from spann3r_ros.models.posenet.loss import FORMS, pose_loss, pose_loss_parts
from spann3r_ros.models.posenet.network import PosenetNetwork, PoseRegressor
from spann3r_ros.recordings.layouts import open_sequence
from spann3r_ros.training.export import revision
from spann3r_ros.training.posed_crops import PosedCrops
from spann3r_ros.training.recipe import dataclass_from
from spann3r_ros.training.trainer import CHECKPOINT, LOG

OPTIMIZERS = ("adam", "adagrad", "sgd")
"""adam: the PyTorch port; adagrad: the released solver; sgd with momentum 0.9: the paper."""


@dataclass(frozen=True)
class RelocalizerRecipe:
    """Everything that decides what a training of PoseNet produces.

    Attributes:
        model: ``posenet``.
        name: of its folder.
        seed: of every random draw.
        steps: batches in all.
        batch: random crops in a batch.
        form: of the loss, one of ``loss.FORMS``.
        beta: weight of the quaternion's error beside the position's; indoors 120 to 750, outdoors 250 to 2000 in the
            paper, where the scenes are large.
        optimizer: one of ``OPTIMIZERS``.
        learning_rate: at the beginning.
        divide: the steps are cut into so many equal parts, after each of which the learning rate is divided by 10.
        weight_decay: of weights, not of biases.
        width_divisor: all channels are divided by it; 1 is the published network.
        threads: of PyTorch on the CPU; 0: its default.
        checkpoint_minutes: between checkpoints.

    Raises:
        ConfigError: a value out of range, or an unknown choice.
    """

    model: str = "posenet"
    name: str = "posenet"
    seed: int = 1
    steps: int = 20000
    batch: int = 64
    form: str = "norm"
    beta: float = 10.0
    optimizer: str = "adam"
    learning_rate: float = 3e-4
    divide: int = 3
    weight_decay: float = 1e-4
    width_divisor: float = 1.0
    threads: int = 0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        for name, choices in (("model", ("posenet",)), ("form", FORMS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in choices:
                raise ConfigError(f"recipe.{name}", got=repr(getattr(self, name)), expected=" | ".join(choices))
        least = {"steps": 1, "batch": 1, "divide": 1, "width_divisor": 1, "threads": 0, "weight_decay": 0, "beta": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= low):
                raise ConfigError(f"recipe.{name}", got=value, expected=f">= {low}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConfigError("recipe.learning_rate", got=self.learning_rate, expected="> 0")


def relocalizer_recipe_from(content: Mapping[str, Any]) -> RelocalizerRecipe:
    """A recipe from a mapping, as a YAML file or a checkpoint holds it; ConfigError for what is wrong in it."""
    return dataclass_from(content, RelocalizerRecipe, "recipe")


class RelocalizerTrainer:
    """Trains PoseNet; a run that is resumed sees and does what an uninterrupted one does.

    Args:
        network: is changed in place.
        recipe: what to do.
        crops: what to learn.
        folder: for checkpoint and log; made if missing.
    """

    def __init__(self, network: PosenetNetwork, recipe: RelocalizerRecipe, crops: PosedCrops, folder: Path) -> None:
        self.network, self.recipe, self.crops, self.folder = network, recipe, crops, folder
        self.device = network.conv1.weight.device
        self.step, self.seconds, self.frames = 0, 0.0, 0
        self.optimizer = _optimizer(network, recipe)
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, until: int | None = None, progress: Callable[[float], None] | None = None) -> None:
        """Train from the current step to ``until`` (default: the end), writing checkpoints and the log.

        ``progress`` is called after every step with its loss.
        """
        end = min(self.recipe.steps, self.recipe.steps if until is None else until)
        saved = time.monotonic()
        if self.step >= end:
            return
        while self.step < end:
            begun = time.monotonic()
            loss, parts = self.take_step()
            self.seconds += time.monotonic() - begun
            self._log(loss, parts)
            if progress is not None:
                progress(loss)
            if time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
        self.save()

    def take_step(self) -> tuple[float, list[float]]:
        """One batch and new weights; the loss, and the errors of position and quaternion of each regressor."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed * 1_000_003 + self.step)
        pixels, target = self.crops.batch(np.random.default_rng([recipe.seed, self.step]), recipe.batch)
        pixels, target = pixels.to(self.device), target.to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * group["factor"] / 10 ** (self.step * recipe.divide // recipe.steps)
        self.network.train()
        answers = self.network.answers(pixels)
        loss = pose_loss(answers, target, recipe.beta, recipe.form)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.step += 1
        self.frames += len(pixels)
        return float(loss.detach()), pose_loss_parts(answers, target, recipe.form).tolist()

    def save(self) -> Path:
        """Write the checkpoint, replacing the last one only when the new one is complete."""
        state = {
            "recipe": dataclasses.asdict(self.recipe),
            "architecture": architecture_to_json(self.network.architecture),
            "data": self.crops.description,
            "step": self.step,
            "seconds": self.seconds,
            "frames": self.frames,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        path = self.folder / CHECKPOINT
        with replacing_file(path) as draft:
            torch.save(state, draft)
        return path

    def resume(self) -> None:
        """Continue from the checkpoint in the folder; CheckpointError for none, or one of another network."""
        path = self.folder / CHECKPOINT
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            if state["architecture"] != architecture_to_json(self.network.architecture):
                raise ValueError("another network")
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds, self.frames = state["step"], state["seconds"], state["frames"]
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"training checkpoint {path}", got=error, expected="one that this recipe wrote"
            ) from error

    def export(self, path: Path) -> None:
        """Write the weights with the mean image as .safetensors, with the record of the training."""
        record = {
            "recipe": dataclasses.asdict(self.recipe),
            "steps": self.step,
            "frames": self.frames,
            "seconds": round(self.seconds),
            "data": self.crops.description,
            "revision": revision(),
            "torch": torch.__version__,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(path, self.network, self.network.architecture, {"training": record})

    def _log(self, loss: float, parts: Sequence[float]) -> None:
        path = self.folder / LOG
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "loss", "position", "quaternion", "rate", "seconds"])
            rate = self.optimizer.param_groups[0]["lr"]
            writer.writerow([self.step - 1, loss, parts[-2], parts[-1], rate, round(self.seconds, 2)])


def open_relocalizer_training(
    recipe: RelocalizerRecipe, folder: Path, init: Path | None, data: Sequence[Path], device: str = "auto"
) -> RelocalizerTrainer:
    """A trainer in its first state.

    Args:
        recipe: what to do.
        folder: for checkpoint and log.
        init: weights to begin with, whose sizes then count; or those of GoogLeNet as a classifier, which the trunk
            begins with; None: random ones.
        data: recordings of one scene with true poses.
        device: ``auto`` takes CUDA when there is one.

    Raises:
        ConfigError: no recording.
        DataError: recordings that cannot be learned from.
        CheckpointError: ``init`` is no PoseNet, and no classifier of the recipe's sizes.
    """
    if not data:
        raise ConfigError("recordings to train PoseNet on", got="none", expected="--data FOLDER_OR_BAG ... with poses")
    sequences = [open_sequence(path) for path in data]
    begun = {} if init is None else _classifier(init)
    if init is not None and not begun:
        network = _existing(init)
        crops = PosedCrops(sequences, network.architecture)
        height, width = crops.mean_image.shape[1:]
        # The weights know their scene less the mean of its images; a new scene has its own.
        network.architecture = dataclasses.replace(network.architecture, mean_size=(int(height), int(width)))
        network.mean_image = crops.mean_image.clone()
    else:
        crops = PosedCrops(sequences, PosenetArchitecture())
        height, width = crops.mean_image.shape[1:]
        torch.manual_seed(recipe.seed)
        network = PosenetNetwork(scaled(recipe.width_divisor, mean_size=(int(height), int(width))))
        first_weights(network, crops)
        if begun:
            _begin_trunk(network, begun, str(init))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return RelocalizerTrainer(network.to(device), recipe, crops, folder)


@torch.no_grad()
def first_weights(network: PosenetNetwork, crops: PosedCrops) -> None:
    """Random weights whose first answers are the mean pose of a scene.

    Layers keep the size of what passes through them (He et al. 2015), from pixels of about 60 gray levels around their
    mean on. As in the paper, the rows of the last layer for the position are as large as the scene is in each axis.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    network.conv1.weight.div_(60.0)
    network.mean_image.copy_(crops.mean_image)
    targets = torch.from_numpy(crops.targets)
    extent = targets[:, :3].std(dim=0)
    for regressor in network.modules():
        if isinstance(regressor, PoseRegressor):
            width = regressor.fc_xyz.in_features
            regressor.fc_xyz.weight.copy_(0.1 * extent[:, None] * torch.randn(3, width) / math.sqrt(width))
            regressor.fc_xyz.bias.copy_(targets[:, :3].mean(dim=0))
            nn.init.normal_(regressor.fc_wpqr.weight, std=0.1 / math.sqrt(width))
            regressor.fc_wpqr.bias.copy_(targets[:, 3:].mean(dim=0))


def _classifier(path: Path) -> dict[str, Tensor]:
    """The trunk of a file of GoogLeNet as a classifier, by our names; nothing for another file."""
    tensors = read_tensor_file(path).tensors
    return trunk(tensors) if is_classifier(tensors) else {}


def _begin_trunk(network: PosenetNetwork, tensors: Mapping[str, Tensor], where: str) -> None:
    """Give the trunk these weights; the regressors keep theirs. CheckpointError when the two do not fit."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.named_parameters() if not name.startswith("pose")}
    wrong = differences(expected, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    if wrong:
        raise CheckpointError(
            f"{where} does not fit the trunk",
            got=wrong,
            expected=f"the {len(expected)} tensors of GoogLeNet, whose channels the recipe's width_divisor divides",
            next_step="Weights of the published size need width_divisor: 1",
        )
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)


def _existing(path: Path) -> PosenetNetwork:
    """The network of existing weights, with tensors of its own; CheckpointError for a file of another family."""
    checkpoint = read_checkpoint(path)
    if not isinstance(checkpoint.architecture, PosenetArchitecture):
        raise CheckpointError(f"family of {path}", got=checkpoint.family, expected="posenet")
    with torch.device("meta"):
        network = PosenetNetwork(checkpoint.architecture)
    load_into(network, checkpoint)
    state = {name: tensor.detach().float().clone() for name, tensor in network.state_dict().items()}
    network = PosenetNetwork(checkpoint.architecture)
    network.load_state_dict(state)
    return network


def _optimizer(network: PosenetNetwork, recipe: RelocalizerRecipe) -> torch.optim.Optimizer:
    """Biases are not decayed; the released solver gives them twice the learning rate."""
    weights: list[Tensor] = [p for name, p in network.named_parameters() if not name.endswith("bias")]
    biases: list[Tensor] = [p for name, p in network.named_parameters() if name.endswith("bias")]
    twice = 2.0 if recipe.optimizer == "adagrad" else 1.0
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay, "factor": 1.0},
        {"params": biases, "weight_decay": 0.0, "factor": twice},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9)
    if recipe.optimizer == "adagrad":
        return torch.optim.Adagrad(groups, lr=recipe.learning_rate)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)
