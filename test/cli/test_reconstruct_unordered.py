"""`reconstruct --unordered`: photographs whose order means nothing become a run like any other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from exported import exported
from wall_network import HEIGHT, WIDTH, write_wall_checkpoint

from spann3r_ros.cli.main import main
from spann3r_ros.files.ply import read_ply
from spann3r_ros.files.tum import read_camera_path
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.geometry.camera import centered
from spann3r_ros.geometry.focal import estimate_focal
from spann3r_ros.geometry.pnp import estimate_pose
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.unordered import reconstruct_unordered
from spann3r_ros.recordings.layouts import open_sequence
from spann3r_ros.runs.folder import RunFolder
from spann3r_ros.runs.record import UNORDERED, RunRecord
from spann3r_ros.runs.unordered_methods import decodings
from spann3r_ros.streaming.stream import load_stream

SETTINGS = {"map.min_confidence": 0.0, "device": "cpu"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "wall.safetensors"
    write_wall_checkpoint(path)
    return path


def write_images(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(4)
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    return folder


def command(source: Path, output: Path, checkpoint: Path, *options: str) -> list[str]:
    settings = [f"checkpoint={checkpoint}", "map.min_confidence=0.0", "device=cpu"]
    chosen = [part for setting in settings for part in ("--set", setting)]
    return ["reconstruct", str(source), "-o", str(output), "--unordered", *chosen, *options]


def test_photographs_become_a_run(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from spann3r_ros.config import Config, from_mapping

    images, out = write_images(tmp_path / "images", 5), tmp_path / "out"
    assert main(command(images, out, checkpoint, "--pointmaps")) == 0
    printed = capsys.readouterr()
    assert "5 frames, 5 with a pose" in printed.out  # no rate: none of them came in time
    assert "27/27" in printed.err and "decoding" in printed.err

    model = load_stream(from_mapping(Config, {"checkpoint": str(checkpoint), **SETTINGS})).model
    assert isinstance(model, Spann3r)
    expected = reconstruct_unordered(model, list(open_sequence(images).frames()))
    record = RunRecord.read(out / "run.json")
    assert record.mode == UNORDERED and record.finished and record.offered == len(record.frames) == 5
    assert record.order == expected.order and sorted(record.order) == list(range(5))
    np.testing.assert_allclose(record.pair_scores, expected.pair_scores, atol=1e-5)
    assert f"order of the images: {', '.join(map(str, expected.order))}" in printed.out
    assert record.frames.posed == [True] * 5 and all(value is not None for value in record.frames.confidence)
    assert record.frames.seconds == [None] * 5 and record.rate() is None

    path = read_camera_path(out / "trajectory.txt")  # in the order of the stamps, whatever the order of the images
    assert path.stamps.tolist() == record.frames.stamp
    first = expected.predictions[0]
    camera = centered(estimate_focal(first.points, first.confidence), WIDTH, HEIGHT)
    for prediction in expected.predictions:
        samples = Config().pose.samples
        pose = estimate_pose(prediction.points, prediction.confidence, camera, samples=samples).world_from_camera
        assert pose is not None
        found = path.pose(prediction.frame.index).matrix()
        np.testing.assert_allclose(found, (ROS_FROM_OPTICAL @ pose).matrix(), atol=1e-6)
    assert len(read_ply(out / "map.ply")) == record.points > 100
    stored = list(RunFolder(out).pointmaps())
    assert [pointmap.index for pointmap in stored] == record.order
    optical = expected.predictions[0].points
    np.testing.assert_allclose(stored[0].points, np.stack([optical[..., 2], -optical[..., 0], -optical[..., 1]], -1))


@pytest.mark.parametrize(("count", "found"), [(2, 3), (3, 8), (5, 27), (60, 5252)])
def test_decodings_are_counted(count: int, found: int) -> None:
    assert decodings(count) == found


def test_refusals(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    one, many = write_images(tmp_path / "one", 1), write_images(tmp_path / "many", 61)
    assert main(command(one, out, checkpoint)) == 2
    assert "images of an unordered reconstruction: got 1; expected >= 2" in capsys.readouterr().err
    assert main(command(many, out, checkpoint)) == 2
    error = capsys.readouterr().err
    assert "got 61, which take 5,431 decodings; expected at most 60 (5,252)" in error and "--limit 61" in error
    assert main(command(many, out, checkpoint, "--set", "model=dust3r")) == 2
    assert not out.exists()
    assert main(command(many, out, checkpoint, "--every", "20")) == 0
    record = RunRecord.read(out / "run.json")
    assert record.order is not None and sorted(record.order) == [0, 1, 2, 3]


def test_a_way_that_the_family_cannot_go_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = write_images(tmp_path / "images", 3), tmp_path / "out"
    for align in ("global", "sparse"):
        assert main(command(images, out, checkpoint, "--align", align)) == 2
        error = " ".join(capsys.readouterr().err.split())
        assert f"--align {align}: got spann3r; expected" in error and "Leave out --unordered" in error
    assert main(command(images, out, checkpoint, "--pairs", "ring")) == 2
    assert "graph of pairs: got 'ring'; expected complete | swin" in capsys.readouterr().err
    assert main(command(images, out, checkpoint, "--iterations", "-1")) == 2
    assert not out.exists()


def test_exported_stages_of_a_stream_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install {module}")
    images, out = write_images(tmp_path / "images", 3), tmp_path / "out"
    assert main(command(images, out, exported("spann3r"), "--set", "backend=onnxruntime")) == 2
    assert "parameter 'backend' for photographs in no order" in capsys.readouterr().err and not out.exists()


def test_an_image_that_the_network_cannot_take_does_not_stop_the_others(checkpoint: Path, tmp_path: Path) -> None:
    images, out = write_images(tmp_path / "images", 3), tmp_path / "out"
    cv2.imwrite(str(images / "1.png"), np.zeros((4, 4000, 3), np.uint8))
    assert main(command(images, out, checkpoint)) == 0
    record = RunRecord.read(out / "run.json")
    assert record.order is not None and sorted(record.order) == [0, 2] and sum(record.skipped.values()) == 1
    assert record.pair_scores is not None and len(record.pair_scores) == 2


def test_ctrl_c_ends_it_without_a_result(checkpoint: Path, tmp_path: Path) -> None:
    from spann3r_ros.config import Config, from_mapping
    from spann3r_ros.runs.unordered_run import UnorderedRun

    config = from_mapping(Config, {"checkpoint": str(checkpoint), **SETTINGS})
    job = UnorderedRun(open_sequence(write_images(tmp_path / "images", 4)), config, tmp_path / "out")
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        job.run(stop=lambda: len(done) >= 3, stepped=lambda: done.append(1))
    assert len(done) == 3 and not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize(("family", "pairs", "steps"), [("dust3r", "complete", 6 + 4), ("mast3r", "oneref-1", 4 + 4)])
def test_models_of_pairs_align_photographs(
    family: str, pairs: str, steps: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from spann3r_ros.models import registry
    from spann3r_ros.models.checkpoint.reading import write_checkpoint

    row = registry.family(family)
    torch.manual_seed(0)
    write_checkpoint(tmp_path / "w.safetensors", row.network(row.tiny), row.tiny)
    images, out = write_images(tmp_path / "images", 3), tmp_path / "out"
    options = ["--align", "global", "--pairs", pairs, "--iterations", "4", "--set", f"model={family}"]
    options += ["--set", "tracking.enabled=false", "--pointmaps"]  # nobody believes random weights
    assert main(command(images, out, tmp_path / "w.safetensors", *options)) == 0
    printed = capsys.readouterr()
    assert "3 frames, 3 with a pose" in printed.out
    assert f"{steps}/{steps}" in printed.err and "step" in printed.err
    record = RunRecord.read(out / "run.json")
    assert record.mode == UNORDERED and record.order == [0, 1, 2] and record.metric == (family == "mast3r")
    scores = np.array(record.pair_scores)
    assert (scores > 0).sum() == steps - 4
    assert len(read_camera_path(out / "trajectory.txt").stamps) == 3
    assert len(list(RunFolder(out).pointmaps())) == 3


def test_photographs_that_share_no_sure_match_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from spann3r_ros.models import registry
    from spann3r_ros.models.checkpoint.reading import write_checkpoint

    row = registry.family("mast3r")
    torch.manual_seed(0)
    network = row.network(row.tiny)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "head_local_features.fc2.bias" in name:
                parameter[-256:] = -5.0  # the descriptors' confidence: sure of nothing
    write_checkpoint(tmp_path / "w.safetensors", network, row.tiny)
    images, out = write_images(tmp_path / "images", 3), tmp_path / "out"
    assert main(command(images, out, tmp_path / "w.safetensors", "--set", "model=mast3r", "--iterations", "1")) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "images that share no match with the others: got 1.png, 2.png" in error and "--align global" in error
