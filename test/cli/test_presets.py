"""Presets that ship: their names are parameters, they lie below the user's options, and installations have them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image
from tiny_models import random_frames

from spann3r_ros.cli.configuration import read_config, read_parameter_file
from spann3r_ros.cli.main import main
from spann3r_ros.cli.presets import preset_file, preset_files
from spann3r_ros.config import Config, from_mapping
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.registry import FAMILIES, parameter_groups
from spann3r_ros.models.spann3r.parameters import Spann3rParameters
from spann3r_ros.reconstruction import Reconstruction

ROOT = Path(__file__).parents[2]


def test_they_are_found_in_the_checkout() -> None:
    assert list(preset_files()) == sorted(path.stem for path in (ROOT / "config" / "presets").glob("*.yaml"))
    assert "spann3r_paper" in preset_files()


@pytest.mark.parametrize("name", preset_files())
def test_every_key_is_a_parameter_and_every_value_is_allowed(name: str) -> None:
    values = read_parameter_file(preset_file(name))
    config = from_mapping(Config, values, parameter_groups())
    assert config.model in FAMILIES, "a preset ships with its family"
    assert "checkpoint" not in values and "device" not in values, "which the user's machine decides"
    assert preset_file(name).read_text().startswith("# "), "says what it is"


@pytest.mark.parametrize("name", preset_files())
def test_a_preset_says_what_differs_and_the_own_options_count_more(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("memory: {working_frames: 3, long_term_tokens: 10}\n")
    config = read_config(tmp_path / "own.yaml", ["memory.long_term_tokens=20"], name)
    own = config.of(Spann3rParameters)
    assert (own.working_frames, own.long_term_tokens) == (3, 20)
    assert config.model == read_parameter_file(preset_file(name))["model"]


def test_the_papers_settings_reach_the_configuration() -> None:
    config = read_config(None, [], "spann3r_paper")
    assert (config.image_width, config.image_height, config.tracking.enabled) == (224, 224, False)
    assert config.of(Spann3rParameters).attention_threshold == 5e-4


def test_an_unknown_name_is_refused_with_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"preset: got 'fast'; expected .*spann3r_paper"):
        preset_file("fast")
    Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
    for command in ("reconstruct", "evaluate"):
        assert main([command, str(tmp_path), "-o", str(tmp_path / "out"), "--preset", "fast"]) == 2
        assert "spann3r_paper" in capsys.readouterr().err


@pytest.mark.parametrize("modules", ["lib/python3.11/site-packages", "local/lib/python3.12/dist-packages"])
def test_they_are_found_in_an_installation(modules: str, tmp_path: Path) -> None:
    package = tmp_path / "prefix" / modules / "spann3r_ros"
    package.mkdir(parents=True)
    assert preset_files(package) == {}
    with pytest.raises(ConfigError, match="none is installed"):
        preset_file("spann3r_paper", package)
    shutil.copytree(ROOT / "config" / "presets", tmp_path / "prefix" / "share" / "spann3r_ros" / "config" / "presets")
    assert list(preset_files(package)) == list(preset_files())


def test_vggt_long_makes_submaps_of_chunks_joins_them_as_published_and_asks_for_a_descriptor(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("gtsam", reason="loops are closed with GTSAM: run `make setup`")
    config = read_config(None, ["checkpoint=random", "vggt.window=6", "vggt.overlap=3"], "vggt_long")
    assert (config.submap.alignment, config.loops.enabled) == ("irls", True)
    config.tracking.enabled = False
    reconstruction = Reconstruction.from_config(config)
    for frame in random_frames(10):
        reconstruction.process(frame)
    reconstruction.flush()
    assert [submap.id for submap in reconstruction.map.submaps] == [0, 1, 2]
    assert reconstruction.map.reason == "submap 2 joined to submap 1 over 3 shared frames"
    assert "Set loops.descriptor to weights of" in caplog.text
