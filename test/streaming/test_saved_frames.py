from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from tiny_models import random_frames

from spann3r_ros.frame import Intrinsics
from spann3r_ros.memory.snapshot import read_snapshot, write_snapshot
from spann3r_ros.models.pointmap import View
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.saved_frames import load_frame, save_frame


def test_frames_come_back_with_all_that_is_known_of_them(tmp_path: Path) -> None:
    plain, known = random_frames(2)
    depth = np.random.default_rng(0).uniform(0, 9, (48, 64)).astype(np.float32)
    camera, prior = Intrinsics(50.0, 51.0, 31.0, 23.0, 64, 48), Sim3(translation=np.array([1.0, 1 / 3, 0.7]))
    known = dataclasses.replace(known, intrinsics=camera, prior=prior, depth=depth)
    tensors: dict = {}  # type: ignore[type-arg]
    state = {"frames": [save_frame(frame, f"waiting.{i}", tensors) for i, frame in enumerate((plain, known))]}
    state["view"] = View(known, known.image, camera).save(tensors)  # type: ignore[assignment]
    write_snapshot(tmp_path / "memory", "someone", tensors, state)
    tensors, state = read_snapshot(tmp_path / "memory", "someone")
    again = [load_frame(f"waiting.{i}", tensors, entry) for i, entry in enumerate(state["frames"])]
    assert again[0].depth is again[0].prior is again[0].intrinsics is None
    np.testing.assert_array_equal(again[0].image, plain.image)
    for frame in (again[1], View.load(tensors, state["view"]).frame):  # type: ignore[arg-type]
        assert frame.depth is not None and frame.prior is not None and frame.intrinsics == camera
        np.testing.assert_array_equal(frame.depth, depth)
        np.testing.assert_array_equal(frame.prior.translation, prior.translation)
