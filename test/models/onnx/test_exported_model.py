from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import config_of, exported
from scipy.spatial.transform import Rotation
from tiny_models import GOLDEN, random_frames

from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError, ConfigError, FrameError
from spann3r_ros.evaluation.parity.spann3r import architecture_from_config, memory_config
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.base import ModelStream, WindowModel
from spann3r_ros.models.checkpoint.reading import read_checkpoint, write_checkpoint
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
from spann3r_ros.models.loading import load_descriptor, load_model, load_relocalizer
from spann3r_ros.models.onnx.exported_model import read_exported, staged
from spann3r_ros.models.onnx.exporter import TOLERANCE, export_model
from spann3r_ros.models.onnx.trial import load_for_export
from spann3r_ros.models.pi3x.parameters import Pi3xParameters
from spann3r_ros.models.registry import FAMILIES
from spann3r_ros.models.streamvggt.parameters import StreamVggtParameters
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.stream import load_stream

pytest.importorskip("onnxruntime", reason="no ONNX Runtime here: pip install onnxruntime")
pytest.importorskip("onnx", reason="no ONNX here: pip install onnx")

MAPPING = tuple(FAMILIES)


def answers(config: Config, frames: list[Frame]) -> list[Prediction]:
    stream = load_stream(config)
    found = [answer for frame in frames for answer in stream.step(frame)]
    return found + stream.flush()


def windows(config: Config) -> WindowModel:
    model = load_model(config)
    assert isinstance(model, WindowModel)
    return model


def telling_poses(**values: str) -> Config:
    config = config_of("pi3x", **values)
    config.of(Pi3xParameters).use_poses = True
    return config


def known_frames(count: int) -> list[Frame]:
    """Frames that come with all that Pi3X can be told."""
    generator = np.random.default_rng(0)
    return [
        dataclasses.replace(
            frame,
            intrinsics=Intrinsics(60.0, 62.0, 31.5, 23.5, 64, 48),
            prior=Sim3.rigid(Rotation.from_rotvec(generator.normal(size=3)).as_matrix(), generator.uniform(-1, 1, 3)),
            depth=generator.uniform(1, 3, (48, 64)).astype(np.float32),
        )
        for frame in random_frames(count)
    ]


def require_equal(found: list[Prediction], expected: list[Prediction]) -> None:
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.frame.index == theirs.frame.index and ours.final == theirs.final
        for name in ("points", "confidence", "descriptor"):
            one, other = getattr(ours, name), getattr(theirs, name)
            if other is not None:
                assert np.abs(one - other).max() <= TOLERANCE * np.abs(other).max(), name
        if theirs.pose_source == "model":
            assert ours.submap_from_camera is not None and theirs.submap_from_camera is not None
            difference = ours.submap_from_camera.matrix() - theirs.submap_from_camera.matrix()
            assert np.abs(difference).max() <= TOLERANCE * np.abs(theirs.submap_from_camera.matrix()).max()


@pytest.mark.parametrize("name", MAPPING)
def test_a_stream_in_onnx_runtime_equals_that_in_pytorch(name: str) -> None:
    frames = random_frames(5, size=(640, 480))
    folder = str(exported(name))
    found = answers(config_of(name, backend="onnxruntime", checkpoint=folder), frames)
    require_equal(found, answers(config_of(name, checkpoint="random"), frames))


def test_a_relocalizer_and_a_descriptor_are_the_same_in_onnx_runtime() -> None:
    frames = random_frames(3, size=(320, 240))
    trial = load_for_export(Config(), "random", "posenet")
    found = load_relocalizer(exported("posenet")).locate(frames[0])
    expected = trial.model.locate(frames[0])  # type: ignore[union-attr]
    np.testing.assert_allclose(found.matrix(), expected.matrix(), rtol=0, atol=1e-4 * np.abs(expected.matrix()).max())
    trial = load_for_export(Config(), "random", "salad")
    vectors = load_descriptor(exported("salad")).describe(frames)  # three images at once, of a file that takes one
    np.testing.assert_allclose(vectors, trial.model.describe(frames), rtol=0, atol=1e-4)  # type: ignore[union-attr]
    assert vectors.shape[0] == 3


def test_a_network_in_one_piece_is_refused_with_the_way_out(tmp_path: Path) -> None:
    trial = load_for_export(config_of("dust3r"), "random", "dust3r")
    del trial.model.stages
    with pytest.raises(ConfigError, match=r"the family dust3r cannot be exported to ONNX.*backend: torch"):
        export_model(trial, tmp_path / "onnx")


@pytest.mark.parametrize("name", ["vggt", "pi3", "pi3x", "fast3r"])
def test_a_window_may_have_any_number_of_frames(name: str) -> None:
    frames = random_frames(5, size=(640, 480))
    ours = windows(config_of(name, backend="onnxruntime", checkpoint=str(exported(name))))
    theirs = windows(config_of(name, checkpoint="random"))
    for count in (1, 2, 5):  # exported for three, and for fewer in a stream's last window
        require_equal(ours.infer(frames[:count]), theirs.infer(frames[:count]))


def test_pi3x_is_told_in_onnx_runtime_what_it_is_told_in_pytorch(tmp_path: Path) -> None:
    export_model(load_for_export(telling_poses(), "random", "pi3x"), tmp_path / "onnx")
    ours = windows(telling_poses(backend="onnxruntime", checkpoint=str(tmp_path / "onnx")))
    theirs = windows(telling_poses(checkpoint="random"))
    frames = known_frames(5)
    depth, prior = (dataclasses.replace(frames[0], **{name: None}) for name in ("depth", "prior"))
    for some in (frames, frames[:2], [depth, *frames[1:]], [prior, *frames[1:4]], [prior, *frames[1:]]):
        require_equal(ours.infer(some), theirs.infer(some))
    for missing in ({"prior", "depth"}, {"intrinsics", "depth"}, {"intrinsics", "prior"}):
        some = [dataclasses.replace(frame, **dict.fromkeys(missing)) for frame in frames]
        require_equal(ours.infer(some), theirs.infer(some))


def test_what_pi3x_was_exported_without_is_refused_with_the_way_out() -> None:
    model = windows(telling_poses(backend="onnxruntime", checkpoint=str(exported("pi3x"))))
    with pytest.raises(FrameError, match=r"got inject .*expected none: it was not exported\. .*--set"):
        model.infer(known_frames(3))


@pytest.mark.parametrize("output", ["immediate", "both"])
def test_every_output_of_spann3r_was_exported(output: str) -> None:
    frames, folder = random_frames(4), str(exported("spann3r"))
    found = answers(config_of("spann3r", backend="onnxruntime", checkpoint=folder, output=output), frames)
    require_equal(found, answers(config_of("spann3r", checkpoint="random", output=output), frames))


def test_a_single_frame_is_answered() -> None:
    folder = str(exported("spann3r"))
    found = answers(config_of("spann3r", backend="onnxruntime", checkpoint=folder), random_frames(1))
    require_equal(found, answers(config_of("spann3r", checkpoint="random"), random_frames(1)))


def test_the_model_that_ships_is_the_same_in_onnx_runtime(tmp_path: Path) -> None:
    frames = random_frames(6, size=(640, 480))
    export_model(load_for_export(Config(), "shipped"), tmp_path / "onnx")
    config = Config(device="cpu", backend="onnxruntime", checkpoint=str(tmp_path / "onnx"))
    require_equal(answers(config, frames), answers(Config(device="cpu"), frames))


@pytest.mark.parametrize("bound", [4, 0])
def test_the_cache_of_streamvggt_drops_the_same_frames_and_grows_as_long(bound: int) -> None:
    """More frames than the export saw, and the attention that decides which of them are dropped."""
    found = []
    for backend, checkpoint in (("torch", "random"), ("onnxruntime", str(exported("streamvggt")))):
        config = config_of("streamvggt", backend=backend, checkpoint=checkpoint)
        settings = config.of(StreamVggtParameters)
        settings.kv_frames, settings.recent_frames = bound, 2
        stream = load_stream(config)
        found.append(([answer for frame in random_frames(9) for answer in stream.step(frame)], stream.status()))
    require_equal(found[1][0], found[0][0])
    assert found[1][1] == found[0][1] and found[0][1].counters["dropped_frames"] == (5 if bound else 0)


@pytest.mark.slow
def test_the_recorded_sequence_is_the_same_in_onnx_runtime(tmp_path: Path) -> None:
    """Images that are no noise, weights that are not ours, and decisions of the memory."""
    recorded = json.loads((GOLDEN / "spann3r_tiny_config.json").read_text())
    images = read_tensor_file(GOLDEN / "spann3r_tiny_sequence.safetensors").tensors["images_u8"].numpy()
    frames = [Frame(index, index, "camera", image) for index, image in enumerate(images)]
    checkpoint = read_checkpoint(GOLDEN / "spann3r_tiny_weights.safetensors", architecture_from_config(recorded))
    weights = tmp_path / "weights.safetensors"
    write_checkpoint(weights, checkpoint.state, checkpoint.architecture)
    config = memory_config(recorded, *images.shape[1:3])
    export_model(load_for_export(config, str(weights)), tmp_path / "onnx")

    streams = []
    for backend, path in (("torch", weights), ("onnxruntime", tmp_path / "onnx")):
        config = memory_config(recorded, *images.shape[1:3])
        config.device, config.backend, config.checkpoint = "cpu", backend, str(path)
        stream = load_stream(config)
        found = [answer for frame in frames for answer in stream.step(frame)]
        streams.append((found + stream.flush(), stream.status()))
    require_equal(streams[1][0], streams[0][0])
    for status in (status for _, status in streams):
        assert abs(status.counters.pop("similarity") - 0.31372) < 1e-4
    assert streams[1][1] == streams[0][1] and streams[0][1].counters["prunes"] == 2


def test_memories_are_exchanged_between_the_backends(tmp_path: Path) -> None:
    frames, folder = random_frames(5), str(exported("spann3r"))
    before = load_stream(config_of("spann3r", checkpoint="random"))
    for frame in frames[:3]:
        before.step(frame)
    before.save(tmp_path / "memory.safetensors")
    after = load_stream(config_of("spann3r", backend="onnxruntime", checkpoint=folder))
    after = after.loaded(tmp_path / "memory.safetensors")
    require_equal(after.step(frames[3]), before.step(frames[3]))


@pytest.mark.parametrize("name", MAPPING)
def test_weights_of_the_stages_are_not_held_by_pytorch(name: str) -> None:
    model = load_model(config_of(name, backend="onnxruntime", checkpoint=str(exported(name))))
    network = staged(model).network  # type: ignore[attr-defined]
    held = sum(tensor.numel() for tensor in network.state_dict().values() if not tensor.is_meta)
    whole = sum(tensor.numel() for tensor in network.state_dict().values())
    assert held < (0.2 if name == "cut3r" else 0.05) * whole  # CUT3R's state before the first frame is made of some


def test_the_note_of_weights_that_mean_nothing_outlives_the_export(caplog: pytest.LogCaptureFixture) -> None:
    model = load_model(config_of("spann3r", backend="onnxruntime", checkpoint=str(exported("spann3r"))))
    assert isinstance(model, ModelStream)
    assert model.model.weights == "random weights of a tiny network, in ONNX Runtime"
    assert "random weights: a tiny network that was never trained; its map means nothing" in caplog.text


def test_images_of_another_size_are_refused_with_the_way_out() -> None:
    config = config_of("spann3r", backend="onnxruntime", checkpoint=str(exported("spann3r")))
    config.image_height, config.image_width = 96, 64
    stream = load_stream(config)
    with pytest.raises(FrameError, match=r"got encode of 1x3x96x64; expected encode of 1x3x48x64\. .*--image-size"):
        stream.step(random_frames(1)[0])


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"checkpoint": ""}, CheckpointError, "spann3r_ros export --checkpoint shipped --onnx FOLDER"),
        ({"checkpoint": "random"}, CheckpointError, "export --checkpoint random"),
        ({"checkpoint": "/nowhere"}, CheckpointError, "no folder of exported stages"),
        ({"precision": "bf16"}, ConfigError, "expected fp32"),
        ({"model": "dust3r"}, CheckpointError, "Set model to spann3r"),
        ({"backend": "torch"}, CheckpointError, "Set backend to onnxruntime"),
        ({"device": "cuda"}, ConfigError, "parameter 'device'"),
    ],
)
def test_contradicting_parameters_are_refused(values: dict[str, str], error: type[Exception], says: str) -> None:
    if values.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    settings = {"model": "spann3r", "backend": "onnxruntime", "checkpoint": str(exported("spann3r")), **values}
    config = Config(**{"device": "cpu", **settings})  # type: ignore[arg-type]
    with pytest.raises(error, match=says):
        load_model(config)


def test_without_onnx_runtime_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = exported("spann3r")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="`pip install onnxruntime`"):
        read_exported(folder, "cpu", torch.device("cpu"))


def test_precision_auto_is_fp32() -> None:
    config = config_of("spann3r", backend="onnxruntime", checkpoint=str(exported("spann3r")), precision="auto")
    load_model(config)
    assert config.precision == "fp32"
