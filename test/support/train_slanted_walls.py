"""Trainings on made-up sequences, for torchrun: FOLDER BATCH NORMALIZER... [--until N] [--resume]."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from tiny_training import SlantedWalls, recipe

from spann3r_ros.training.preparation import new_network
from spann3r_ros.training.processes import joined
from spann3r_ros.training.recipe import Loss, Optimizer, Recipe
from spann3r_ros.training.schedule import Stage
from spann3r_ros.training.trainer import Trainer

STEPS = 11


def main() -> None:
    """Clips, walks with a memory that is cut back, and single images; gradients of two batches make a step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("batch", type=int)
    parser.add_argument("normalizers", nargs="+", help="of one training each, in FOLDER/NORMALIZER")
    parser.add_argument("--until", type=int)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        for normalizer in arguments.normalizers:
            settings = settings_of(arguments.batch, normalizer)
            folder = arguments.folder / normalizer
            trainer = Trainer(new_network(settings), settings, SlantedWalls(), folder, processes=processes)
            if arguments.resume:
                trainer.resume()
            trainer.run(arguments.until)


def settings_of(batch: int, normalizer: str) -> Recipe:
    stages = (
        Stage("images", 2, batch, 1),
        Stage("clips", 3, batch, 3, truth=(0.5, 0.5), blend=(0.5, 1), singles=3 * batch),
        Stage("walks", 6, batch, 3, truth=(0.5, 0.5), walks=2, walk_frames=7, walk_every=1, drift=0.1),
    )
    return dataclasses.replace(
        recipe(*stages, optimizer=Optimizer(learning_rate=3e-3, accumulate=2), long_term_tokens=30),
        loss=Loss(normalizer, place=0.1, camera=0.1, origin=0.1),
        dropout=0.0,  # its noise is each process's own
        validate_every=0,
    )


if __name__ == "__main__":
    main()
