"""Recipes read from YAML are complete and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from spann3r_ros.errors import ConfigError
from spann3r_ros.training.recipe import read_recipe, recipe_from, recipe_mapping

RECIPES = [
    path
    for path in sorted((Path(__file__).parents[2] / "config" / "train").glob("*.yaml"))
    if path.stem != "posenet"  # whose recipe is of another kind: test_relocalizer.py
]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_survive_a_round_trip(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe_from(recipe_mapping(recipe)) == recipe


def test_house_is_metric_and_small_enough_to_ship() -> None:
    from spann3r_ros.models.spann3r.network import Spann3rNetwork

    recipe = read_recipe(next(path for path in RECIPES if path.stem == "house"))
    network = Spann3rNetwork(recipe.architecture)
    assert recipe.architecture.trunk.metric
    assert 2 * sum(parameter.numel() for parameter in network.parameters()) <= 12e6


def test_numbers_without_a_point_are_numbers() -> None:
    assert recipe_from({"optimizer": {"learning_rate": "1e-3"}}).optimizer.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sede": 1}, "sede"),
        ({"seed": 1.5}, "recipe.seed"),
        ({"optimizer": {"betas": [0.9]}}, "recipe.optimizer.betas"),
        ({"curriculum": {"stages": [{"name": "a", "steps": 1, "batch": 1, "frames": 0}]}}, ">= 1"),
        ({"loss": {"normalizer": "none"}}, "sequence"),
    ],
)
def test_mistakes_are_named(content: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_from(content)
