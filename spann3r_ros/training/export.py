"""From a training checkpoint to weights that ship: half precision, with the record of how they came to be."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import torch
import yaml

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.architecture_json import architecture_from_json
from spann3r_ros.models.checkpoint.reading import write_checkpoint
from spann3r_ros.training.recipe import Recipe, recipe_from


def export(checkpoint: Path, path: Path, figures: dict[str, float] | None = None) -> dict[str, Any]:
    """Write the averaged weights of a training as fp16 safetensors.

    Args:
        checkpoint: of ``Trainer.save``.
        path: to write; replaced when it exists.
        figures: measured on held-out sequences, for the record.

    Returns:
        The training record in the metadata: recipe, seed, steps, frames, seconds, data, revision of the source and
        figures.

    Raises:
        CheckpointError: a file that is no training checkpoint.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        recipe: Recipe = recipe_from(state["recipe"])
        record = {
            # Text, since a recipe may hold infinities, which JSON has not.
            "recipe": yaml.safe_dump(json.loads(json.dumps(state["recipe"])), sort_keys=False),
            "seed": recipe.seed,
            "steps": state["step"],
            "frames": state["frames"],
            "seconds": round(state["seconds"]),
            "data": state["data"],
            "revision": revision(),
            "torch": torch.__version__,
            "figures": figures or {},
        }
        weights, architecture = state["average"], architecture_from_json(state["architecture"])
    except (OSError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"training checkpoint {checkpoint}", got=error, expected="what Trainer.save wrote"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, weights, architecture, {"training": record}, torch.float16)
    return record


def revision() -> str:
    """Git hash of the source, with "-dirty" when it has changes; "unknown" outside a repository."""
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()
