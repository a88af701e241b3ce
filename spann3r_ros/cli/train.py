"""Train a Spann3R network from nothing in a synthetic scene, or fine-tune existing weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from spann3r_ros.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``train``."""
    parser.add_argument("--config", type=Path, required=True, help="recipe, for example config/train/house.yaml")
    parser.add_argument("--output", type=Path, help="folder for checkpoint and log; default out/train/NAME")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in the output folder")
    parser.add_argument("--init", type=Path, help="weights to begin with, for example spann3r.pth")
    parser.add_argument(
        "--data", type=Path, nargs="+", default=[], help="bags or dataset folders with true poses and depth"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--export", type=Path, help="at the end, write the averaged weights to this .safetensors")
    parser.add_argument("--until", type=int, help="stop after this step; a later --resume goes on")


def run(arguments: argparse.Namespace) -> int:
    """Train; the checkpoint is also written when interrupted."""
    import signal

    import torch
    from tqdm import tqdm

    from spann3r_ros.training.export import export
    from spann3r_ros.training.losses import LossTerms
    from spann3r_ros.training.preparation import open_session
    from spann3r_ros.training.recipe import read_recipe
    from spann3r_ros.training.schedule import Plan
    from spann3r_ros.training.trainer import CHECKPOINT

    recipe = read_recipe(arguments.config)
    folder = arguments.output or Path("out") / "train" / recipe.name
    if (folder / CHECKPOINT).exists() and not arguments.resume:
        raise ConfigError(
            f"checkpoint in {folder}", expected="none", next_step="Continue with --resume, or choose another --output"
        )
    if recipe.compute.threads:
        torch.set_num_threads(recipe.compute.threads)
    torch.set_flush_denormal(True)
    trainer = open_session(recipe, folder, arguments.init, arguments.data, arguments.device)
    if arguments.resume:
        trainer.resume()
    with tqdm(total=recipe.curriculum.steps, initial=trainer.step, unit="step", mininterval=5) as bar:

        def show(plan: Plan, terms: LossTerms, _seconds: float) -> None:
            bar.set_postfix_str(f"{plan.stage.name} loss {float(terms.total.detach()):.3f}")
            bar.update()

        # A training in the background is stopped by SIGTERM; it then writes its checkpoint as for Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            trainer.run(arguments.until, show)
        except KeyboardInterrupt:
            trainer.save()
            raise
    print(f"step {trainer.step} of {recipe.curriculum.steps}, {trainer.frames} frames, checkpoint in {folder}")
    if arguments.export is not None:
        export(folder / CHECKPOINT, arguments.export)
        print(f"weights in {arguments.export}")
    return 0
