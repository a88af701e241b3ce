from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import random_frames

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Frame
from spann3r_ros.recordings.bag_sequence import load
from spann3r_ros.recordings.bag_writer import BagWriter
from spann3r_ros.recordings.measured_depth import MeasuredDepth


def bag(path: Path, shape: tuple[int, int] = (48, 64), depth: bool = True) -> Path:
    values = np.full(shape, 2.5, np.float32)
    values[:5] = np.nan
    with BagWriter(path) as writer:
        for frame in random_frames(4):
            writer.image("/camera/image_raw", 10**9 + frame.stamp, "camera", frame.image)
            if depth and frame.index != 2:
                writer.depth("/camera/depth/image_raw", 10**9 + frame.stamp, "camera", values)
    return path


def frames(path: Path) -> list[Frame]:
    return list(MeasuredDepth(load(path)).frames())


def test_each_frame_carries_its_own_depth_in_meters_or_none(tmp_path: Path) -> None:
    found = frames(bag(tmp_path / "bag"))
    assert [frame.depth is not None for frame in found] == [True, True, False, True]
    assert found[0].depth is not None
    assert not found[0].depth[:5].any() and (found[0].depth[5:] == np.float32(2.5)).all()
    assert [frame.index for frame in found] == [0, 1, 2, 3] and MeasuredDepth(load(tmp_path / "bag")).count() == 4


def test_a_recording_without_depth_or_with_depth_of_another_aspect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got no depth images"):
        frames(bag(tmp_path / "none", depth=False))
    with pytest.raises(DataError, match=r"got \(H, W\) = \(24, 48\); expected \(48, 64\)"):
        frames(bag(tmp_path / "wide", (24, 48)))


def test_depth_of_a_lower_resolution_takes_the_nearest_pixel(tmp_path: Path) -> None:
    found = frames(bag(tmp_path / "small", (24, 32)))[0].depth
    assert found is not None and found.shape == (48, 64)
    assert not found[:10].any() and (found[10:] == np.float32(2.5)).all()
