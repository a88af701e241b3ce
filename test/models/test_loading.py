"""What becomes of its files is nothing to a model that is loaded, and what is no file is not opened."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from tiny_models import OFFICIAL_TRUNK_IN_SMALL

from spann3r_ros.blocks import packed_linear
from spann3r_ros.blocks.packed_linear import PackedLinear, can_pack
from spann3r_ros.config import Config
from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.reading import read_checkpoint, write_checkpoint
from spann3r_ros.models.loading import load_model, load_network, suits_packing
from spann3r_ros.models.registry import FAMILIES
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.network import Spann3rNetwork
from spann3r_ros.streaming.stream import load_stream

SUPPORT = Path(__file__).resolve().parents[1] / "support"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same network in both formats."""
    folder = tmp_path_factory.mktemp("weights")
    architecture = Spann3rArchitecture(trunk=OFFICIAL_TRUNK_IN_SMALL)
    torch.manual_seed(0)
    network = Spann3rNetwork(architecture)
    write_checkpoint(folder / "w.safetensors", network, architecture)
    torch.save({"model": network.state_dict()}, folder / "w.pth")
    return folder


@pytest.mark.fault("weights pulled away")
def test_files_that_are_truncated_or_overwritten_change_nothing(weights: Path, tmp_path: Path) -> None:
    # In a process of its own, for what it shows would end it with SIGBUS.
    script = """
        import os, shutil, sys
        from pathlib import Path
        import numpy as np
        from tiny_models import random_frames
        from spann3r_ros.config import Config
        from spann3r_ros.streaming.stream import load_stream

        weights, folder = map(Path, sys.argv[1:])

        def truncate(path):
            os.truncate(path, 100)

        def overwrite(path):  # with NaN
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.seek(size // 10)
                file.write(b"\\xff" * (size - size // 10))

        def points(stream, frames):
            return [answer.points for frame in frames for answer in stream.step(frame)]

        for suffix, harm in ((".safetensors", truncate), (".pth", truncate), (".pth", overwrite)):
            path, memory = folder / f"{harm.__name__}{suffix}", folder / f"{harm.__name__}{suffix}.memory"
            shutil.copy(weights / f"w{suffix}", path)
            frames = random_frames(3)
            stream = load_stream(Config(checkpoint=str(path), device="cpu", image_width=64, image_height=48))
            begun = stream.fresh()
            before = points(begun, frames[:2])
            begun.save(memory)
            after = points(begun, frames[2:])
            continued = stream.loaded(memory)
            harm(path), harm(memory)
            assert np.isfinite(after).all() and np.array_equal(points(continued, frames[2:]), after), memory
            assert np.array_equal(points(stream.fresh(), frames), before + after), path
    """
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", textwrap.dedent(script), str(weights), str(tmp_path)]
    result = subprocess.run(run, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, f"{result.returncode}: {result.stderr}"


@pytest.mark.fault("weights pulled away")
@pytest.mark.parametrize("mapping", [False, True])
def test_weights_stay_in_the_pages_of_the_file_only_when_asked_for(weights: Path, mapping: bool) -> None:
    checkpoint = read_checkpoint(weights / "w.pth")
    network = load_network(checkpoint, torch.device("cpu"), mapping=mapping)
    for name, parameter in network.named_parameters():
        assert (parameter.data_ptr() == checkpoint.state[name].data_ptr()) == mapping, name
        assert torch.equal(parameter, checkpoint.state[name])


@pytest.mark.skipif(not can_pack(), reason="this PyTorch or this processor packs no linear layers")
@pytest.mark.parametrize(
    ("mapping", "size", "packed"), [(False, (48, 64), True), (True, (48, 64), False), (False, (480, 640), False)]
)
def test_layers_are_packed_unless_they_are_mapped_or_see_many_tokens(
    weights: Path, monkeypatch: pytest.MonkeyPatch, mapping: bool, size: tuple[int, int], packed: bool
) -> None:
    monkeypatch.setattr(packed_linear, "LEAST_WEIGHTS", {torch.float32: 1, torch.bfloat16: 1})
    config = Config(
        checkpoint=str(weights / "w.safetensors"),
        checkpoint_mapping=mapping,
        device="cpu",
        image_height=size[0],
        image_width=size[1],
    )
    network = load_stream(config)._model.network
    assert any(isinstance(module, PackedLinear) for module in network.modules()) == packed


def test_a_family_that_sees_many_images_at_once_is_not_packed() -> None:
    size = (224, 224)
    suited = [name for name, row in FAMILIES.items() if suits_packing(row, row.architecture, size)]
    assert {"spann3r", "dust3r", "mast3r", "cut3r"} <= set(suited) and not {"vggt", "fast3r", "pi3"} & set(suited)
    assert not suits_packing(FAMILIES["streamvggt"], FAMILIES["streamvggt"].architecture, (518, 518))


@pytest.mark.fault("weights pulled away")
def test_a_file_that_is_written_to_while_it_is_read_is_refused(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes((weights / "w.safetensors").read_bytes())
    checkpoint = read_checkpoint(path)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    os.utime(path, (1, 1))  # of a clock too coarse to tell
    with pytest.raises(CheckpointError, match=r"changed while it was read.*untouched.*load it again"):
        load_network(checkpoint, torch.device("cpu"))
    checkpoint = read_checkpoint(path)
    (tmp_path / "new").write_bytes(b"another file")
    (tmp_path / "new").replace(path)
    load_network(checkpoint, torch.device("cpu"))  # the one that was opened is whole


@pytest.mark.fault("weights pulled away")
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_that_is_cut_while_it_is_loaded_is_refused(weights: Path, tmp_path: Path, name: str) -> None:
    # Mapped pages behind the new end would end the process with SIGBUS, so it is a process of its own.
    script = """
        import os, sys
        import torch
        from spann3r_ros.errors import CheckpointError
        from spann3r_ros.models.checkpoint.reading import read_checkpoint
        from spann3r_ros.models.loading import load_network
        checkpoint = read_checkpoint(sys.argv[1])
        os.truncate(sys.argv[1], 5000)
        try:
            load_network(checkpoint, torch.device("cpu"))
        except CheckpointError as error:
            assert "cut short while it was read: got 5,000 bytes" in str(error), error
            print("refused")
    """
    path = tmp_path / name
    path.write_bytes((weights / name).read_bytes())
    run = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(run, capture_output=True, text=True, env=environment, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "refused"), result.stderr


@pytest.mark.fault("hostile request")
def test_a_checkpoint_that_is_no_file_is_refused_unopened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, kind in ((tmp_path / "pipe", "a pipe"), ("/dev/zero", "a device"), (tmp_path, "a folder")):
        with pytest.raises(CheckpointError, match=f"is {kind}; expected a .pth or .safetensors file"):
            load_model(Config(checkpoint=str(name), device="cpu"))
    for name in ("~nosuchuser/w.pth", "a\0b", "x" * 10_000):
        with pytest.raises(CheckpointError, match="parameter 'checkpoint': path: got"):
            load_model(Config(checkpoint=name, device="cpu"))
