"""Settings that a library pickled are read without it; what else a pickle names is refused as ever."""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint import tensor_file
from spann3r_ros.models.checkpoint.stand_ins import StandIn, is_setting, setting
from spann3r_ros.models.checkpoint.tensor_file import read_tensor_file

SAVED = Path(__file__).parents[2] / "data" / "omegaconf_arguments.pth"
"""Written by torch.save, with ``args`` of the real OmegaConf 2.4, one tensor beside them."""


def test_the_models_text_is_found_in_settings_of_the_real_library() -> None:
    file = read_tensor_file(SAVED)
    assert file.model is not None and file.model.startswith("ARCroco(ArcConfig(state_size=10, state_pe='2d'")
    assert torch.equal(file.tensors["x"], torch.ones(3))


@pytest.mark.skipif(not tensor_file._STAND_INS, reason="PyTorch before 2.6 cannot stand in for a class")
def test_a_folder_among_the_arguments_is_data(tmp_path: Path) -> None:
    arguments = argparse.Namespace(model="Network()", output_dir=Path("/data/run"), resume=None)
    torch.save({"model": {"a": torch.ones(2)}, "args": arguments}, tmp_path / "w.pth")
    file = read_tensor_file(tmp_path / "w.pth")
    assert file.model == "Network()" and torch.equal(file.tensors["a"], torch.ones(2))


def test_the_library_is_not_imported() -> None:
    script = "import sys; from pathlib import Path; from spann3r_ros.models.checkpoint.tensor_file import *; "
    script += "read_tensor_file(Path(sys.argv[1])); assert 'omegaconf' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, str(SAVED)], check=True)


class Hostile:
    """Runs code where it is unpickled with trust."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.fault("hostile file")
def test_code_among_settings_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("omegaconf.dictconfig")
    kind = type("DictConfig", (), {"__module__": module.__name__})
    module.DictConfig = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    settings = kind()
    settings._content = {"model": Hostile(tmp_path / "ran")}
    torch.save({"args": settings, "model": {"x": torch.ones(3)}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"wants to run code.*system"):
        read_tensor_file(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_an_older_pytorch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "_STAND_INS", False)
    with pytest.raises(CheckpointError, match=r"needs a newer PyTorch.*expected 2\.6 or newer"):
        read_tensor_file(SAVED)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("omegaconf.dictconfig.DictConfig", True),
        ("typing.Any", True),
        ("pathlib.PosixPath", True),
        ("omegaconfig.Trap", False),
        ("os.system", False),
        ("builtins.eval", False),
        ("collections.Counter", False),
    ],
)
def test_only_settings_are_stood_in_for(name: str, expected: bool) -> None:
    assert is_setting(name) is expected


def test_settings_of_another_form_say_nothing() -> None:
    odd, node = StandIn(1, 2), StandIn()
    assert setting(odd, "model") is None and setting(None, "model") is None
    odd.__dict__["_content"] = {"model": "bare"}
    assert setting(odd, "model") is None
    node.__dict__["_val"] = 3
    odd.__dict__["_content"] = {"model": node}
    assert setting(odd, "model") == 3


def test_a_stand_in_can_do_nothing() -> None:
    assert pickle.loads(pickle.dumps(StandIn("x", y=1))).__dict__ == {}
