"""Files of tensors: both formats open lazily, every wrong file is refused by name, and nothing in a file runs."""

import argparse
import json
import os
import pickle
import stat
import subprocess
import sys
import textwrap
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from spann3r_ros.errors import CheckpointError
from spann3r_ros.files.checksum import sha256
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file, write_tensor_file

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class RunsCode:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.system, (f"touch {self.marker}",))


def assert_same(found):
    assert list(found) == list(TENSORS)
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"model": t}, lambda t: {"state_dict": t, "epoch": 3}])
def test_pth_layouts(tmp_path, wrap):
    torch.save(wrap(dict(TENSORS)), tmp_path / "w.pth")
    assert_same(read_tensor_file(tmp_path / "w.pth").tensors)


def test_a_training_file_gives_its_tensors_and_constructor(tmp_path):
    content = {
        "model": dict(TENSORS),
        "args": argparse.Namespace(model="Network(depth=2)", lr=5e-5, betas=(0.9, 0.95), name=None),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2, 3)}}, "param_groups": [{}]},
        "scaler": {"scale": 65536.0},
        "epoch": 7,
        "best_so_far": 0.25,
    }
    torch.save(content, tmp_path / "w.pth")
    file = read_tensor_file(tmp_path / "w.pth")
    assert_same(file.tensors)
    assert file.model == "Network(depth=2)" and file.metadata == {}


def test_the_old_pth_layout_is_read(tmp_path):
    torch.save(dict(TENSORS), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert_same(read_tensor_file(tmp_path / "w.pth").tensors)


def test_safetensors_and_metadata_under_any_name(tmp_path):
    write_tensor_file(tmp_path / "w.pth", TENSORS, {"note": "hello", "training": {"steps": 3}})
    file = read_tensor_file(tmp_path / "w.pth")
    assert_same({name: file.tensors[name] for name in TENSORS})
    assert file.metadata["note"] == "hello" and json.loads(file.metadata["training"]) == {"steps": 3}


def test_writing_converts_shares_nothing_and_replaces_the_file(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_text("old")
    shared = torch.rand(4, 4)
    write_tensor_file(path, {"x": shared, "y": shared, "z": shared.T, "n": torch.tensor([1])}, {}, torch.float16)
    tensors = read_tensor_file(path).tensors
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16, torch.int64}
    assert torch.equal(tensors["z"], shared.T.half()) and torch.equal(tensors["y"], shared.half())
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("length", [0x80, 0x4B50])
def test_a_header_length_that_looks_like_another_format(tmp_path, length):
    # The first bytes of a .safetensors are a number, which may spell the first bytes of a pickle or of a zip.
    write_tensor_file(tmp_path / "w", {"a": torch.ones(2)}, {"note": ""})
    short = int.from_bytes((tmp_path / "w").read_bytes()[:8], "little")
    write_tensor_file(tmp_path / "w", {"a": torch.ones(2)}, {"note": "x" * (length - short)})
    assert (tmp_path / "w").read_bytes()[:8] == length.to_bytes(8, "little")
    assert torch.equal(read_tensor_file(tmp_path / "w").tensors["a"], torch.ones(2))


def test_values_that_overflow_are_not_written(tmp_path):
    with pytest.raises(CheckpointError, match=r"tensor big.*not finite as torch\.float16"):
        write_tensor_file(tmp_path / "w.safetensors", {"big": torch.tensor([1e6])}, {}, torch.float16)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("old_layout", [False, True])
@pytest.mark.parametrize("where", ["args", "model"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_not_run(tmp_path, old_layout, where):
    path, marker = tmp_path / "w.pth", tmp_path / "ran"
    content = {"model": dict(TENSORS), where: RunsCode(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=not old_layout)
    with pytest.raises(CheckpointError, match=r"w\.pth wants to run code.*nothing was run.*system.*Do not trust"):
        read_tensor_file(path)
    assert not marker.exists()


def test_a_bare_pickle_that_wants_to_run_code_is_refused_and_not_run(tmp_path):
    path, marker = tmp_path / "w.pth", tmp_path / "ran"
    path.write_bytes(pickle.dumps(RunsCode(marker), protocol=2))
    with pytest.raises(CheckpointError, match=r"wants to run code.*system"):
        read_tensor_file(path)
    assert not marker.exists()


def test_pytorch_2_4_is_told_the_safe_classes_its_own_way(tmp_path, monkeypatch):
    torch.save({"model": dict(TENSORS), "args": argparse.Namespace(model="N()")}, tmp_path / "w.pth")
    monkeypatch.delattr(torch.serialization, "safe_globals", raising=False)
    before = torch.serialization.get_safe_globals()
    try:
        assert read_tensor_file(tmp_path / "w.pth").model == "N()"
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def test_older_pytorch_asks_for_a_newer_one(tmp_path, monkeypatch):
    torch.save({"model": dict(TENSORS), "args": argparse.Namespace(model="N()")}, tmp_path / "w.pth")
    for name in ("safe_globals", "add_safe_globals"):
        monkeypatch.delattr(torch.serialization, name, raising=False)
    with pytest.raises(CheckpointError, match=r"w\.pth needs a newer PyTorch.*2\.4 or newer.*torch>=2\.4"):
        read_tensor_file(tmp_path / "w.pth")


def written(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file({"a": torch.zeros(5000)}, path)
    else:
        torch.save({"a": torch.zeros(5000)}, path, _use_new_zipfile_serialization=suffix == ".pth")
    return path


@pytest.mark.parametrize("suffix", [".pth", ".old.pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, suffix, kept):
    path = written(tmp_path, suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match=r"w\..* is (cut short|damaged).*models fetch"):
        read_tensor_file(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_headers_are_refused(tmp_path, suffix):
    path = written(tmp_path, suffix)
    content = bytearray(path.read_bytes())
    content[20:200] = bytes(180)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.\w+ is damaged"):
        read_tensor_file(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", r"Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html><head><title>Google Drive</title>", r"is a web page.*login"),
        (b"\n\n  <html lang='en'><body>Not found</body></html>", r"is a web page"),
        (b"hello, I am a text file", r"neither a \.pth nor a \.safetensors.*b'hello, I'.*models fetch"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, content, reason):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_tensor_file(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["PoseNet.ckpt", "PoseNet.ckpt.index", "PoseNet.ckpt.data-00000-of-00001"])
def test_a_checkpoint_of_tensorflow_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00\x00\x08\x08\x01\x12\x02\x08\x01" * 4)
    with pytest.raises(CheckpointError, match=r"TensorFlow, which is not read.*save its variables with numpy\.save"):
        read_tensor_file(tmp_path / name)


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file .*w\.pth.*models fetch"):
        read_tensor_file(tmp_path / "w.pth")


def test_a_folder_lists_what_it_holds(tmp_path):
    written(tmp_path, ".safetensors")
    with pytest.raises(CheckpointError, match=r"is a folder.*It holds w\.safetensors"):
        read_tensor_file(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_an_unreadable_file_is_refused(tmp_path):
    path = written(tmp_path, ".pth")
    path.chmod(stat.S_IWUSR)
    with pytest.raises(CheckpointError, match="permissions"):
        read_tensor_file(path)


@pytest.mark.parametrize(
    "content", [[1, 2, 3], {"model": {}}, {"model": {"a": torch.ones(1), "b": 3}}, {3: torch.ones(1)}]
)
def test_pth_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="holds no network's weights"):
        read_tensor_file(tmp_path / "w.pth")


def test_what_is_not_looked_at_is_not_read(tmp_path):
    # 200 MB of optimizer state beside 20 MB of weights: reading all the weights must not cost what the optimizer holds.
    path = tmp_path / "w.pth"
    big = [torch.zeros(10_000_000) for _ in range(5)]
    torch.save({"model": {"a": torch.ones(5_000_000)}, "optimizer": {"state": dict(enumerate(big))}}, path)
    script = """
        import resource, sys
        from pathlib import Path
        from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        total = float(read_tensor_file(Path(sys.argv[1])).tensors["a"].sum())
        print(total, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    run = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    total, megabytes = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
    assert float(total) == 5_000_000
    assert float(megabytes) < 80


def test_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_an_archive_of_other_files_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "weights.zip", "w") as archive:
        archive.writestr("scene/500_net_G.pth", b"0" * 100)
    with pytest.raises(CheckpointError, match=r"is an archive, not weights: got scene/500_net_G\.pth\. Unpack it"):
        read_tensor_file(tmp_path / "weights.zip")


@pytest.mark.parametrize("prefix", ["module.", "net.", "module.net."])
def test_names_lose_what_training_frameworks_put_before_all_of_them(tmp_path, prefix):
    torch.save({"state_dict": {f"{prefix}{name}": tensor for name, tensor in TENSORS.items()}}, tmp_path / "w.pth")
    assert set(read_tensor_file(tmp_path / "w.pth").tensors) == set(TENSORS)
    torch.save({"net.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "v.pth")
    assert set(read_tensor_file(tmp_path / "v.pth").tensors) == {"net.a", "b"}
