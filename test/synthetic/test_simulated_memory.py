"""A simulated memory comes back bit for bit, and refuses a file that it did not write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spann3r_ros.errors import MemoryMismatchError
from spann3r_ros.memory.snapshot import write_snapshot
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.simulated_memory import Belief, SimulatedMemory
from spann3r_ros.synthetic.walk import camera_pose


def test_it_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    for number, belief in enumerate([None, Belief(17, 4, camera_pose(1, 2, 3, 0.7), Sim3(), 1 / 3)]):
        path = tmp_path / f"{number}.safetensors"
        SimulatedMemory("me", belief, 2).save(path)
        again = SimulatedMemory.load(path, "me")
        assert again.lost == 2 and again.status() == SimulatedMemory("me", belief, 2).status()
        if belief is None:
            assert again.belief is None
        else:
            assert again.belief is not None and again.belief.scale == belief.scale
            np.testing.assert_array_equal(again.belief.world_from_camera.matrix(), belief.world_from_camera.matrix())


@pytest.mark.parametrize("state", [{}, {"lost": 1, "belief": {"frames": 1}}, {"lost": "x", "belief": None}])
def test_another_file_is_refused(tmp_path: Path, state: dict[str, object]) -> None:
    write_snapshot(tmp_path / "memory.safetensors", "me", {}, state)
    with pytest.raises(MemoryMismatchError):
        SimulatedMemory.load(tmp_path / "memory.safetensors", "me")
