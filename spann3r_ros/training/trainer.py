"""The training loop: optimizer steps, averaged weights, checkpoints that continue exactly, and a log."""

from __future__ import annotations

import csv
import dataclasses
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spann3r_ros.errors import CheckpointError
from spann3r_ros.files.atomic import replacing_file
from spann3r_ros.models.checkpoint.architecture_json import architecture_to_json
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.training.data import PLACES, Prefetch, Sequences, Source
from spann3r_ros.training.losses import ALONE, LossTerms, Truth, no_loss, pointmap_loss
from spann3r_ros.training.processes import Processes
from spann3r_ros.training.recipe import Recipe, recipe_mapping
from spann3r_ros.training.rollout import History, Rollout, drifted
from spann3r_ros.training.schedule import Plan

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
Validate = Callable[[Spann3rNetwork], dict[str, float]]


class PlaceHead(nn.Module):
    """Where in the fixed scene each patch is, from one image's features; for training only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, 3 * PLACES**2)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, P, E) to mean world points (N, P, 3 * PLACES**2) of the parts of each patch, meters."""
        points: Tensor = self.proj(self.norm(features.float()))
        return points


class PoseHead(nn.Module):
    """Where in the fixed scene a camera stood, from every token; for training only.

    Asked of an image's features, it is that image's camera. Asked of what the memory answered, it is the first one:
    all that a memory adds to an image of a known place is in whose frame to express it.
    """

    REACH = 2.0
    """Meters from a camera at which a wrong rotation is weighed like a wrong position."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, 12)

    def forward(self, tokens: Tensor, cameras: Tensor) -> Tensor:
        """Mean error in meters of all tokens (..., B, P, E) about the poses (B, 12) of cameras."""
        difference = self.proj(self.norm(tokens.float())) - cameras[:, None]
        error: Tensor = difference[..., :3].norm(dim=-1) + self.REACH * difference[..., 3:].norm(dim=-1)
        return error.mean()


class Trainer:
    """Trains a network by a recipe.

    Args:
        network: is changed in place.
        recipe: what to do.
        source: where sequences come from.
        folder: for checkpoint, log and what is exported; made if missing.
        validate: gives figures of the averaged weights for the log, or None.
        processes: which train the same network on the other shares of each batch; the first one writes all files.

    Attributes:
        must_stop: set it to end ``run`` after the current step of all processes; the checkpoint is written then.
    """

    must_stop = False

    def __init__(
        self,
        network: Spann3rNetwork,
        recipe: Recipe,
        source: Source,
        folder: Path,
        validate: Validate | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.processes = processes
        self.network, self.recipe, self.source, self.folder = network, recipe, source, folder
        self.validate = validate
        self.device = network.value_out.weight.device
        self.step, self.seconds, self.frames = 0, 0.0, 0
        width = network.architecture.trunk.encoder_width
        self.heads = nn.ModuleDict({"place": PlaceHead(width), "origin": PoseHead(width), "camera": PoseHead(width)})
        self.trained = nn.ModuleDict({"network": network, "heads": self.heads.to(self.device)})
        self.optimizers = optimizers(self.trained, recipe)
        self._base_rates = [[group["lr"] for group in each.param_groups] for each in self.optimizers]
        self.average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self.histories: dict[int, History] = {}
        self.rollout = Rollout(
            network,
            long_term_tokens=recipe.long_term_tokens,
            dropout=recipe.dropout,
            compiled=recipe.compute.compiled,
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._board = _tensorboard(folder) if recipe.compute.tensorboard and not processes.rank else None

    def run(self, until: int | None = None, progress: Callable[[Plan, LossTerms, float], None] | None = None) -> None:
        """Train from the current step to ``until`` (default: the end), writing checkpoints and the log.

        ``progress`` is called after every step with what it did, its losses and the seconds it took.
        """
        recipe = self.recipe
        end = min(recipe.curriculum.steps, until if until is not None else recipe.curriculum.steps)
        patch = self.network.architecture.trunk.patch_size
        saved = time.monotonic()
        self.network.train()
        if self.step >= end:
            return
        rank = self.processes.rank
        prefetch = Prefetch(self.source, recipe.curriculum, seed=recipe.seed, patch=patch, start=self.step, rank=rank)
        with prefetch as batches:
            for plan, batch in batches:
                begun = time.monotonic()
                terms, asked = self.take_step(plan, batch)
                took = time.monotonic() - begun
                self.seconds += took
                self.step += 1
                if progress is not None:
                    progress(plan, terms, took)
                figures: dict[str, float] = {}
                is_due = recipe.validate_every and self.step % recipe.validate_every == 0
                if self.validate is not None and is_due and not rank:
                    figures = self.validate(self.averaged_network())
                    logger.info("step %d: %s", self.step, figures)
                if not rank:
                    self._log(plan, terms, asked, took, figures)
                # All processes save together, when the first one's clock says so, and end together.
                is_old = time.monotonic() - saved > 60 * recipe.compute.checkpoint_minutes and not rank
                if self._any(is_old):
                    self.save()
                    saved = time.monotonic()
                if self.step >= end or self._any(self.must_stop):
                    break
        self.save()

    def take_step(self, plan: Plan, batch: Sequences) -> tuple[LossTerms, dict[str, float]]:
        """One batch: losses, gradients and, when enough batches are accumulated, new weights.

        Returns:
            The losses, and the errors in the tasks beside them, meters; of the batch of all processes.
        """
        recipe, processes = self.recipe, self.processes
        seed = recipe.seed * 1_000_003 + plan.step
        torch.manual_seed(seed)
        images, points = batch.images.to(self.device), batch.points.to(self.device)
        truth = Truth(points, batch.valid.to(self.device))
        use_truth = processes.mine(torch.rand(len(images) * processes.count)).to(self.device) < plan.truth
        window = plan.window
        history = (
            self.histories.pop(window.group, None) if window is not None and window.first > window.origin else None
        )
        stored = points
        if window is not None and plan.stage.drift:
            ages = torch.arange(points.shape[1]) + (window.first - window.origin)
            stored = drifted(points, ages, plan.stage.drift, processes)
        processes.seed_noise(seed)
        singles = None if batch.singles is None else batch.singles.to(self.device)
        shown = None if singles is None else singles.images
        terms, asked = no_loss(self.device), {name: torch.zeros((), device=self.device) for name in self.heads}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.compute.bf16):
            features, single_features = self.rollout.encode(images, shown, plan.stage.apart)
            if len(images):
                answers, written = self.rollout.run(features, stored, use_truth, history)
        if len(images):
            terms = pointmap_loss(
                answers,
                truth,
                alpha=recipe.loss.alpha,
                normalizer=recipe.loss.normalizer,
                blend=plan.blend,
                processes=processes,
            )
            if batch.origins is not None and written.contents:
                asked["origin"] = self.heads["origin"](torch.stack(written.contents), batch.origins.to(self.device))
        if singles is not None:
            asked["camera"] = self.heads["camera"](single_features, singles.cameras)
        asked["place"] = self._place_error(features, single_features, batch, plan.stage.apart)
        total = terms.total + sum(getattr(recipe.loss, name) * error for name, error in asked.items())
        torch.autograd.backward(total / recipe.optimizer.accumulate)
        if window is not None and not window.last:
            self.histories[window.group] = self.rollout.remember(history, written)
        if (plan.step + 1) % recipe.optimizer.accumulate == 0:
            self._update(plan)
        frames = images.shape[0] * images.shape[1] + (0 if singles is None else len(singles.images))
        self.frames += frames * processes.count
        means = {field.name: processes.mean(getattr(terms, field.name)) for field in dataclasses.fields(terms)}
        return LossTerms(**means), {name: float(processes.mean(error.detach())) for name, error in asked.items()}

    def _any(self, wish: bool) -> bool:
        """Whether any process wishes something."""
        return bool(self.processes.mean(torch.tensor(float(wish), device=self.device)) > 0)

    def _place_error(self, features: Tensor, single_features: Tensor, batch: Sequences, apart: bool) -> Tensor:
        """Mean distance in meters; of the single images alone where the encoder learns apart."""
        shown, places = [], []
        if batch.places is not None and not apart:
            shown, places = [features.flatten(0, 1)], [batch.places.flatten(0, 1)]
        if batch.singles is not None:
            shown, places = [*shown, single_features], [*places, batch.singles.places]
        if not shown:
            return torch.zeros((), device=self.device)
        difference = self.heads["place"](torch.cat(shown)) - torch.cat(places).to(self.device)
        error: Tensor = difference.reshape(-1, 3).norm(dim=-1).mean()
        return error

    def _update(self, plan: Plan) -> None:
        recipe = self.recipe
        factor = recipe.curriculum.learning_rate(plan.step)
        parameters = [p for each in self.optimizers for group in each.param_groups for p in group["params"]]
        self.processes.average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, recipe.optimizer.clip)
        for optimizer, rates in zip(self.optimizers, self._base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        decay = min(recipe.optimizer.average, (1 + plan.step) / (10 + plan.step))
        state = self.network.state_dict()
        with torch.no_grad():
            for name, tensor in self.average.items():
                tensor.lerp_(state[name], 1 - decay)

    def averaged_network(self) -> Spann3rNetwork:
        """A network with the averaged weights, in evaluation mode."""
        network = Spann3rNetwork(self.network.architecture).to(self.device)
        network.load_state_dict(self.average)
        return network.eval()

    def save(self) -> Path:
        """Write the checkpoint, replacing the last one only when the new one is complete; all processes at once."""
        path = self.folder / CHECKPOINT
        self.processes.average_gradients(self.trained.parameters())  # of batches that no update has used yet
        histories = self.processes.collected(
            {
                group: (history.spatial.tensors(), history.spatial.counters(), history.query)
                for group, history in self.histories.items()
            }
        )
        if self.processes.rank:
            return path
        state = {
            "recipe": recipe_mapping(self.recipe),
            "architecture": architecture_to_json(self.network.architecture),
            "data": self.source.description,
            "step": self.step,
            "seconds": self.seconds,
            "frames": self.frames,
            "network": self.network.state_dict(),
            "heads": self.heads.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "gradients": {n: p.grad for n, p in self.trained.named_parameters() if p.grad is not None},
            "histories": histories,
        }
        with replacing_file(path) as draft:
            torch.save(state, draft)
        return path

    def resume(self, path: Path | None = None) -> None:
        """Continue from a checkpoint: weights, optimizer, averages, memories of the walks, and place in the data.

        Raises:
            CheckpointError: no such file, or one of another network or another number of processes.
        """
        path = path or self.folder / CHECKPOINT
        rank, count = self.processes.rank, self.processes.count
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.heads.load_state_dict(state["heads"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"training checkpoint {path}", got=error, expected="one that this recipe wrote"
            ) from error
        histories = state["histories"] if isinstance(state["histories"], list) else [state["histories"]]
        if len(histories) != count:
            raise CheckpointError(
                f"training checkpoint {path}",
                got=f"one of {len(histories)} processes",
                expected=f"one of {count}, as many as train now",
                next_step=f"torchrun --nproc-per-node {len(histories)}",
            )
        self.average = {name: tensor.clone() for name, tensor in state["average"].items()}
        for name, parameter in self.trained.named_parameters():
            parameter.grad = state["gradients"].get(name)
        self.step, self.seconds, self.frames = state["step"], state["seconds"], state["frames"]
        self.histories = {
            group: self._history(tensors, counters, query)
            for group, (tensors, counters, query) in histories[rank].items()
        }

    def _history(self, tensors: dict[str, Tensor], counters: dict[str, float], query: Tensor) -> History:
        history = self.rollout.new_history(query, tensors["keys"].dtype)
        history.spatial.restore(tensors, counters)
        return history

    def _log(
        self, plan: Plan, terms: LossTerms, asked: dict[str, float], took: float, figures: dict[str, float]
    ) -> None:
        path = self.folder / LOG
        new = not path.exists()
        row: dict[str, Any] = {
            "step": plan.step,
            "stage": plan.stage.name,
            "walk": "" if plan.window is None else plan.window.first,
            "loss": float(terms.total.detach()),
            "left": " ".join(f"{float(error):.4f}" for error in terms.left),
            "right": " ".join(f"{float(error):.4f}" for error in terms.right),
            **asked,
            "rate": self.recipe.curriculum.learning_rate(plan.step),
            "step_seconds": round(took, 3),
            "seconds": round(self.seconds, 1),
            "frames": self.frames,
            "validation": " ".join(f"{name}={value:.4f}" for name, value in figures.items()),
        }
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
        if self._board is not None:
            curves = {"loss": row["loss"], **asked, **{f"held out/{name}": v for name, v in figures.items()}}
            if len(terms.left):
                curves |= {"head 1": float(terms.left.mean()), "head 2": float(terms.right.mean())}
            for name, value in curves.items():
                self._board.add_scalar(name, value, plan.step)


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("compute.tensorboard: pip install tensorboard") from error
    return SummaryWriter(str(folder))  # type: ignore[no-untyped-call]


def optimizers(module: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices of the transformer blocks when the recipe gives it a learning rate.

    Biases, norms and other vectors have no weight decay.
    """
    settings = recipe.optimizer
    matrices, decayed, plain = [], [], []
    muon = settings.muon_learning_rate > 0
    if muon and not hasattr(torch.optim, "Muon"):
        logger.warning("this PyTorch (%s) has no Muon (2.9 and later have): AdamW takes all weights", torch.__version__)
        muon = False
    for name, parameter in module.named_parameters():
        in_block = any(part in name for part in ("enc_blocks", "dec_blocks", "value_encoder"))
        if muon and in_block and parameter.ndim == 2:
            matrices.append(parameter)
        elif parameter.ndim >= 2:
            decayed.append(parameter)
        else:
            plain.append(parameter)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    result: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
    ]
    if matrices:
        result.append(torch.optim.Muon(matrices, lr=settings.muon_learning_rate, weight_decay=settings.weight_decay))
    return result
