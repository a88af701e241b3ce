"""Training of PoseNet: it learns a rendered walk, goes on where it stopped, and its weights localize."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import caffe_writer
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from spann3r_ros.cli.main import main
from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.models.loading import load_relocalizer
from spann3r_ros.models.posenet.classifier import LAYERS
from spann3r_ros.models.posenet.model import Posenet
from spann3r_ros.training.relocalizer import (
    OPTIMIZERS,
    RelocalizerRecipe,
    RelocalizerTrainer,
    open_relocalizer_training,
    relocalizer_recipe_from,
)

ROOT = Path(__file__).parents[2]


def recipe(**fields: object) -> RelocalizerRecipe:
    return RelocalizerRecipe(**{"steps": 3, "batch": 2, "width_divisor": 32, **fields})  # type: ignore[arg-type]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Four images of noise with poses."""
    (tmp_path / "scene" / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "scene" / "images" / f"{number + 1}.0.png")
    lines = [f"{number + 1}.0 {number} 0 {number / 2} 0 0 0 1" for number in range(4)]
    (tmp_path / "scene" / "trajectory.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "scene"


def trainer(recording: Path, folder: str, **fields: object) -> RelocalizerTrainer:
    torch.manual_seed(99)  # whatever was drawn before must not matter
    return open_relocalizer_training(recipe(**fields), recording.parent / folder, None, [recording], "cpu")


def test_the_first_answer_is_the_mean_pose(recording: Path) -> None:
    training = trainer(recording, "run")
    found = training.network.eval()(torch.zeros(1, 3, 224, 224))
    np.testing.assert_allclose(found.position.detach(), [[1.5, 0, 0.75]], atol=0.5)
    pixels, target = training.crops.batch(np.random.default_rng(0), 8)
    errors = (training.network(pixels).position - target[:, :3]).detach().norm(dim=1)
    assert float(errors.mean()) < 3.0  # as far as the cameras are from their mean, not farther


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_training_gives_the_same_weights(recording: Path, optimizer: str) -> None:
    straight = trainer(recording, "straight", optimizer=optimizer, learning_rate=1e-5)
    straight.run()
    stopped = trainer(recording, "stopped", optimizer=optimizer, learning_rate=1e-5)
    stopped.run(until=1)
    resumed = trainer(recording, "stopped", optimizer=optimizer, learning_rate=1e-5)
    resumed.resume()
    resumed.run()
    first = trainer(recording, "first").network.state_dict()
    for name, tensor in straight.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    learned = ("conv1.weight", "inception5b.branch1.weight", "pose1.fc_xyz.bias", "pose3.fc_wpqr.weight")
    assert not [name for name in learned if torch.equal(straight.network.state_dict()[name], first[name])]
    assert resumed.frames == straight.frames == 6


def test_a_checkpoint_of_another_network_is_refused(recording: Path) -> None:
    trainer(recording, "run").run(until=1)
    with pytest.raises(CheckpointError, match=r"training checkpoint .*expected one that this recipe wrote"):
        trainer(recording, "run", width_divisor=16).resume()


def test_existing_weights_get_the_mean_image_of_their_new_scene(recording: Path, tmp_path: Path) -> None:
    training = trainer(recording, "run")
    training.export(tmp_path / "w.safetensors")
    with torch.no_grad():
        training.network.mean_image.zero_()
    training.export(tmp_path / "black.safetensors")
    again = open_relocalizer_training(recipe(), tmp_path / "next", tmp_path / "black.safetensors", [recording], "cpu")
    assert torch.equal(again.network.mean_image, again.crops.mean_image)
    assert torch.equal(again.network.conv1.weight, training.network.conv1.weight)
    located = load_relocalizer(tmp_path / "w.safetensors", "cpu")
    assert isinstance(located, Posenet) and torch.equal(located.network.mean_image, training.crops.mean_image)


def classifier_of(network: torch.nn.Module) -> dict[str, np.ndarray]:
    """The trunk's weights plus one, as GoogLeNet's definition calls them, and a classifier."""
    state = network.state_dict()
    arrays = {"loss3/classifier_0": np.zeros((1000, 32), np.float32)}
    for theirs, ours in LAYERS.items():
        arrays |= {f"{theirs}_{i}": state[f"{ours}.{k}"].numpy() + 1 for i, k in enumerate(("weight", "bias"))}
    return arrays


@pytest.mark.parametrize("container", ["pickle", "caffemodel"])
def test_the_trunk_begins_with_a_classifier(recording: Path, tmp_path: Path, container: str) -> None:
    random = trainer(recording, "run").network
    arrays, path = classifier_of(random), tmp_path / f"places-googlenet.{container}"
    if container == "pickle":  # of Python 2, whose texts are bytes
        path.write_bytes(pickle.dumps({name.encode(): array for name, array in arrays.items()}, 2))
    else:
        names = [name.removesuffix("_0") for name in arrays if name.endswith("_0")]
        blobs = {name: [arrays[f"{name}_{i}"] for i in range(2) if f"{name}_{i}" in arrays] for name in names}
        path.write_bytes(caffe_writer.network(blobs))
    begun = open_relocalizer_training(recipe(), tmp_path / "next", path, [recording], "cpu").network
    for name, tensor in random.state_dict().items():
        is_trunk = not name.startswith(("pose", "mean"))
        assert torch.equal(begun.state_dict()[name], tensor + 1 if is_trunk else tensor), name
    with pytest.raises(CheckpointError, match=r"does not fit the trunk: got .*of another shape.* width_divisor: 1"):
        open_relocalizer_training(recipe(width_divisor=16), tmp_path / "next", path, [recording], "cpu")
    with pytest.raises(CheckpointError, match=r"looks like weights of GoogLeNet as a classifier .*--init FILE"):
        load_relocalizer(path, "cpu")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, r"recipe.steps: got 0; expected >= 1"),
        ({"form": "l1"}, r"recipe.form: got 'l1'; expected squared \| norm \| mean"),
        ({"optimizer": "muon"}, r"recipe.optimizer"),
        ({"learning_rate": 0.0}, r"recipe.learning_rate: got 0.0; expected > 0"),
        ({"beta": float("nan")}, r"recipe.beta"),
        ({"model": "vggt"}, r"recipe.model: got 'vggt'; expected posenet"),
        ({"colour": 1}, r"unknown name in recipe: got colour"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        relocalizer_recipe_from(fields)


def test_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recordings to train PoseNet on: got none"):
        open_relocalizer_training(recipe(), tmp_path, None, [])


@pytest.mark.slow
def test_it_learns_where_a_rendered_walk_was_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recipe that ships, cut down: the error falls below three quarters of that of the mean pose."""
    pytest.importorskip("numba", reason="the renderer needs numba")
    bag, weights = str(tmp_path / "bag"), str(tmp_path / "w.safetensors")
    assert main(["make_bag", bag, "--frames", "24", "--rate", "2", "--width", "160", "--height", "120"]) == 0
    content = yaml.safe_load((ROOT / "config" / "train" / "posenet.yaml").read_text())
    content.update(steps=100, batch=8, width_divisor=16, learning_rate=1e-3, divide=1, beta=3, threads=1)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    command = ["train", "--config", str(tmp_path / "recipe.yaml"), "--data", bag, "--output", str(tmp_path / "run")]
    command += ["--device", "cpu", "--export", weights]

    def median() -> tuple[float, float]:
        capsys.readouterr()
        assert main(["localize", bag, "--checkpoint", weights, "--device", "cpu", "-o", str(tmp_path / "p.txt")]) == 0
        found = re.search(r"median error: (\S+) m, (\S+) degrees \(24 images", capsys.readouterr().out)
        assert found
        return float(found[1]), float(found[2])

    assert main([*command, "--until", "1"]) == 0
    before = median()
    assert main(command) == 2 and "--resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    after = median()
    assert after[0] < 0.75 * before[0] and after[1] < 0.75 * before[1]
    assert len((tmp_path / "p.txt").read_text().splitlines()) >= 24
