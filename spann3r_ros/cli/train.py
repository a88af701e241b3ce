"""Train a Spann3R network from nothing in a synthetic scene, fine-tune existing weights, or train a relocalizer."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spann3r_ros.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``train``."""
    parser.add_argument("--config", type=Path, required=True, help="recipe, for example config/train/house.yaml")
    parser.add_argument("--output", type=Path, help="folder for checkpoint and log; default out/train/NAME")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in the output folder")
    parser.add_argument("--init", type=Path, help="weights to begin with, for example spann3r.pth")
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=[],
        help="bags or dataset folders with true poses and (but for a relocalizer) depth",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--export", type=Path, help="at the end, write the averaged weights to this .safetensors")
    parser.add_argument("--until", type=int, help="stop after this step; a later --resume goes on")


def run(arguments: argparse.Namespace) -> int:
    """Train; the checkpoint is also written when interrupted."""
    from spann3r_ros.training.recipe import read_content

    content = read_content(arguments.config)
    options = vars(arguments)
    return train_relocalizer(content, options) if "model" in content else train_spann3r(content, options)


def train_spann3r(content: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """By the recipe and the command line's options, by name."""
    from tqdm import tqdm

    from spann3r_ros.training.export import export
    from spann3r_ros.training.losses import LossTerms
    from spann3r_ros.training.preparation import open_session
    from spann3r_ros.training.processes import Processes, joined, own_device
    from spann3r_ros.training.recipe import recipe_from
    from spann3r_ros.training.schedule import Plan
    from spann3r_ros.training.trainer import CHECKPOINT

    recipe = recipe_from(content)
    folder = _folder(options, recipe.name)
    _prepare(recipe.compute.threads)
    device = own_device(options["device"])

    def train(processes: Processes) -> int:
        trainer = open_session(recipe, folder, options["init"], options["data"], device, processes)
        if options["resume"]:
            trainer.resume()
        steps, is_silent = recipe.curriculum.steps, processes.rank > 0
        with tqdm(total=steps, initial=trainer.step, unit="step", mininterval=5, disable=is_silent) as bar:

            def show(plan: Plan, terms: LossTerms, _seconds: float) -> None:
                bar.set_postfix_str(f"{plan.stage.name} loss {float(terms.total.detach()):.3f}")
                bar.update()

            if processes.count == 1:
                _until_stopped(lambda: trainer.run(options["until"], show), trainer.save)
            else:  # none may save, or leave, without the others
                _when_stopped(lambda: setattr(trainer, "must_stop", True))
                trainer.run(options["until"], show)
        if is_silent:
            return 0
        print(f"step {trainer.step} of {steps}, {trainer.frames} frames, checkpoint in {folder}")
        if options["export"] is not None:
            export(folder / CHECKPOINT, options["export"])
            print(f"weights in {options['export']}")
        return 0

    with joined(device) as processes:
        return train(processes)


def train_relocalizer(content: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """Likewise, PoseNet."""
    from tqdm import tqdm

    from spann3r_ros.training.processes import started_by_torchrun
    from spann3r_ros.training.relocalizer import open_relocalizer_training, relocalizer_recipe_from

    if started_by_torchrun():
        raise ConfigError("a relocalizer under torchrun", expected="one process", next_step="Leave torchrun out")
    recipe = relocalizer_recipe_from(content)
    folder = _folder(options, recipe.name)
    _prepare(recipe.threads)
    trainer = open_relocalizer_training(recipe, folder, options["init"], options["data"], options["device"])
    if options["resume"]:
        trainer.resume()
    with tqdm(total=recipe.steps, initial=trainer.step, unit="step", mininterval=5) as bar:

        def show(loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.3f}")
            bar.update()

        _until_stopped(lambda: trainer.run(options["until"], show), trainer.save)
    print(f"step {trainer.step} of {recipe.steps}, {trainer.frames} frames, checkpoint in {folder}")
    if options["export"] is not None:
        trainer.export(options["export"])
        print(f"weights in {options['export']}")
    return 0


def _folder(options: Mapping[str, Any], name: str) -> Path:
    """Where checkpoint and log go; ConfigError for one that holds a training that is not to be continued."""
    from spann3r_ros.training.trainer import CHECKPOINT

    folder: Path = options["output"] or Path("out") / "train" / name
    if (folder / CHECKPOINT).exists() and not options["resume"]:
        raise ConfigError(
            f"checkpoint in {folder}", expected="none", next_step="Continue with --resume, or choose another --output"
        )
    return folder


def _prepare(threads: int) -> None:
    """PyTorch on the CPU."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def _until_stopped(train: Callable[[], None], save: Callable[[], Path]) -> None:
    """Train; Ctrl-C, and SIGTERM, which stops a training in the background, write the checkpoint first."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        train()
    except KeyboardInterrupt:
        save()
        raise


def _when_stopped(act: Callable[[], None]) -> None:
    """Ctrl-C and SIGTERM, which torchrun sends to all of its processes, only call a function."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: act())
