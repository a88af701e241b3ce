from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from exported import exported

from spann3r_ros.errors import CheckpointError
from spann3r_ros.files.checksum import sha256
from spann3r_ros.models.onnx.exported_model import read_exported
from spann3r_ros.models.onnx.manifest import MANIFEST, OUTSIDE, StageCall, is_exported, read_manifest

onnx = pytest.importorskip("onnx", reason="no ONNX here: pip install onnx")
pytest.importorskip("onnxruntime", reason="no ONNX Runtime here: pip install onnxruntime")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported("spann3r"), tmp_path / "onnx"))


def spoil(folder: Path, change: Callable[[Any], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def test_a_manifest_is_read_as_it_was_written(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.family == "spann3r" and manifest.image_size is None and manifest.exporter.startswith("torch ")
    assert StageCall.of("head", {"branch": 2, "grid": (3, 4)}, ((1, 12, 32), (1, 12, 24))) in manifest.stages
    assert set(manifest.sha256) == {path.name for path in folder.iterdir()} - {MANIFEST}
    assert manifest.to_json() == (folder / MANIFEST).read_text()
    assert is_exported(folder) and not is_exported(folder / OUTSIDE)


def test_a_call_is_known_whatever_the_order_of_its_arguments() -> None:
    one = StageCall.of("pair", {"a": (1, 2), "b": True}, ((1, 3),))
    assert one == StageCall.of("pair", {"b": True, "a": (1, 2)}, ((1, 3),))
    assert str(one) == 'pair {"a": [1, 2], "b": true} of 1x3'


def test_a_length_that_differed_may_be_any() -> None:
    three, two = (StageCall.of("look", {}, ((1, frames, 4), (1, 5))) for frames in (3, 2))
    both = three.merged(two)
    assert str(both) == "look of 1xanyx4, 1x5" and both.covers(two) and both.covers(three) and not two.covers(three)
    assert not both.covers(StageCall.of("look", {}, ((1, 3, 5), (1, 5))))
    assert not both.covers(StageCall.of("look", {}, ((1, 3, 4),)))
    assert not both.covers(StageCall.of("look", {"grid": 1}, three.shapes))


CHANGES: dict[str, Callable[[Any], object]] = {
    "format": lambda content: content.update(format=2),
    "precision": lambda content: content.update(precision="int8"),
    "no stages": lambda content: content.update(stages=[]),
    "stages are no list": lambda content: content.update(stages=3),
    "out of the folder": lambda content: content["stages"][0].update(file="../encode.onnx"),
    "absolute": lambda content: content["sha256"].update({"/etc/passwd": 64 * "0"}),
    "hidden": lambda content: content["sha256"].update({".hidden": 64 * "0"}),
    "without a digest": lambda content: content["sha256"].pop("encode.onnx"),
    "digest": lambda content: content["sha256"].update({"encode.onnx": "abc"}),
    "negative side": lambda content: content["stages"][0].update(inputs=[[-1]]),
    "side is a bool": lambda content: content["stages"][0].update(inputs=[[True]]),
    "huge side": lambda content: content["stages"][0].update(inputs=[[1 << 40]]),
    "arguments": lambda content: content["stages"][0].update(fixed=[1]),
    "image size": lambda content: content.update(image_size=[48]),
    "image size text": lambda content: content.update(image_size="48"),
    "no architecture": lambda content: content.pop("architecture"),
    "another family": lambda content: content["architecture"].update(family="nobody"),
    "absurd architecture": lambda content: content["architecture"]["trunk"].update(encoder_width=10**9),
    "weights": lambda content: content.update(weights=7),
    "no outside": lambda content: content["sha256"].pop(OUTSIDE),
}


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_manifest_that_is_none_is_refused(folder: Path, change: Callable[[Any], object]) -> None:
    spoil(folder, change)
    with pytest.raises(CheckpointError, match=r"manifest\.json.*Export it again"):
        read_manifest(folder)


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize("text", ["", "[]", "null", '"x"', 40000 * "[", "{" + 400 * "9", "\xff\x00", (2 << 20) * " "])
def test_no_text_is_taken_for_a_manifest(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"manifest\.json is no manifest"):
        read_manifest(folder)


@pytest.mark.fault("hostile file")
def test_a_file_that_was_changed_or_is_missing_is_refused(folder: Path) -> None:
    with (folder / "encode.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\0\1\2\3")
    with pytest.raises(CheckpointError, match=r"encode\.onnx was changed since it was exported"):
        read_manifest(folder)
    (folder / "encode.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"encode\.onnx of the manifest: got nothing"):
        read_manifest(folder)


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize("content", [b"", b"\x08\x07", b"no onnx at all"])
def test_a_stage_that_is_no_onnx_is_refused(folder: Path, content: bytes) -> None:
    """With a digest that agrees: whoever wrote the file also wrote the manifest."""
    (folder / "encode.onnx").write_bytes(content)
    digest = sha256(folder / "encode.onnx")
    spoil(folder, lambda manifest: manifest["sha256"].update({"encode.onnx": digest}))
    with pytest.raises(CheckpointError, match=r"ONNX Runtime does not take .*encode\.onnx"):
        read_exported(folder, "cpu", torch.device("cpu"))


@pytest.mark.fault("hostile file")
def test_weights_outside_of_the_folder_are_not_read(folder: Path) -> None:
    """ONNX lets a file name another one that holds its weights; it must not lead out of the folder."""
    path = folder / "encode.onnx"
    model = onnx.load(path)
    onnx.save_model(
        *(model, str(path)), save_as_external_data=True, all_tensors_to_one_file=True, location="w", size_threshold=0
    )
    (folder / "w").rename(folder.parent / "w")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../w"
    path.write_bytes(model.SerializeToString())
    digest = sha256(path)
    spoil(folder, lambda manifest: manifest["sha256"].update({"encode.onnx": digest}))
    with pytest.raises(CheckpointError, match=r"ONNX Runtime does not take .*encode\.onnx"):
        read_exported(folder, "cpu", torch.device("cpu"))


@pytest.mark.fault("hostile file")
def test_tensors_of_another_network_are_refused(folder: Path) -> None:
    shutil.copy(exported("dust3r") / OUTSIDE, folder / OUTSIDE)
    digest = sha256(folder / OUTSIDE)
    spoil(folder, lambda manifest: manifest["sha256"].update({OUTSIDE: digest}))
    with pytest.raises(CheckpointError, match=r"outside\.safetensors does not fit the spann3r network: got dec_norm"):
        read_exported(folder, "cpu", torch.device("cpu"))


def test_what_is_no_folder_of_stages_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no manifest\.json in it\. Export it"):
        read_manifest(tmp_path)
