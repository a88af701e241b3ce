from __future__ import annotations

import json
from pathlib import Path

import pytest
from geometric_models import FakeStreamingModel, frames_of_the_path

from spann3r_ros.config import Config
from spann3r_ros.errors import DataError
from spann3r_ros.models.base import ModelStream
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.saved_world import LoadedWorld


@pytest.fixture
def mapped() -> Reconstruction:
    config = Config(device="cpu")
    config.map.voxel_size, config.tracking.enabled = 0.1, False
    reconstruction = Reconstruction(ModelStream(FakeStreamingModel()), config)
    for frame in frames_of_the_path(5):
        reconstruction.process(frame)
    return reconstruction


def test_a_map_with_a_memory_is_continued_in_the_submap_in_which_it_was_saved(
    mapped: Reconstruction, tmp_path: Path
) -> None:
    mapped.save(tmp_path / "map")
    stream = ModelStream(FakeStreamingModel())
    loaded = LoadedWorld.with_memory(tmp_path / "map", mapped.config.map, stream)
    assert loaded.stream is not stream and loaded.first_submap == 0 and not loaded.intrinsics.is_next_first
    assert len(loaded.map) == len(mapped.map) > 0
    manifest = tmp_path / "map" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["notes"]["first submap"] = "one"
    manifest.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"first submap of the map .*: got one"):
        LoadedWorld.with_memory(tmp_path / "map", mapped.config.map, stream)


def test_a_map_without_a_memory_or_without_keyframes_is_refused_with_what_to_do(
    mapped: Reconstruction, tmp_path: Path
) -> None:
    mapped.save_world(tmp_path / "map")
    stream = ModelStream(FakeStreamingModel())
    with pytest.raises(DataError, match=r"has no memory.*With relocalizer: retrieval"):
        LoadedWorld.with_memory(tmp_path / "map", mapped.config.map, stream)
    with pytest.raises(DataError, match=r"has no keyframes.*relocalizer: none"):
        LoadedWorld.without_memory(tmp_path / "map", mapped.config.map, stream)
