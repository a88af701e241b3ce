from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from miniature_datasets import nrgbd, with_small_intrinsics, write_image
from tiny_models import random_frames

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Frame
from spann3r_ros.recordings.bag_sequence import load
from spann3r_ros.recordings.bag_writer import BagWriter
from spann3r_ros.recordings.layouts import open_sequence
from spann3r_ros.recordings.recorded_odometry import RecordedOdometry
from spann3r_ros.sim3 import Sim3

SECOND = 1_000_000_000
BASE_FROM_CAMERA = Sim3(translation=np.array([0.0, 0.0, 1.0]))


def at(x: float) -> Sim3:
    return Sim3(translation=np.array([x, 0.0, 0.0]))


def bag(path: Path, extra: Callable[[BagWriter], None] = lambda _: None, links: bool = True) -> Path:
    """Images at 1.0, 1.1 ... s; odom -> base_link a tick before and after each, a meter a second; and map -> odom."""
    with BagWriter(path) as writer:
        if links:
            writer.transforms(SECOND, [("base_link", "camera", BASE_FROM_CAMERA)], static=True)
            writer.transforms(SECOND, [("map", "odom", at(100.0))], static=True)
        for number, frame in enumerate(random_frames(4)):
            stamp = SECOND + number * 100_000_000
            for tick in (-10_000_000, 10_000_000):
                if links and number != 2:
                    writer.transforms(stamp + tick, [("odom", "base_link", at((stamp + tick) / SECOND))])
            writer.image("/camera/image_raw", stamp, "camera", frame.image)
        extra(writer)
    return path


def priors(sequence: RecordedOdometry) -> list[Sim3 | None]:
    return [frame.prior for frame in sequence.frames()]


def test_frames_carry_odom_from_camera_interpolated_and_not_where_the_map_was_thought_to_be(tmp_path: Path) -> None:
    found = priors(RecordedOdometry(load(bag(tmp_path / "bag"))))
    assert all(prior is not None for prior in found)
    for number, prior in enumerate(found):
        assert prior is not None
        np.testing.assert_allclose(prior.translation, [1 + 0.1 * number, 0.0, 1.0], atol=1e-9)


def test_a_topic_that_is_named_counts_and_gaps_are_not_bridged(tmp_path: Path) -> None:
    def poses(writer: BagWriter) -> None:
        for stamp, x in ((0.95, 0.0), (1.05, 1.0), (1.15, 2.0), (2.5, 3.0)):
            writer.pose("/vio", round(stamp * SECOND), "vio_world", at(x))

    sequence = RecordedOdometry(load(bag(tmp_path / "bag", poses)), "/vio")
    found = priors(sequence)
    places = [None if prior is None else round(float(prior.translation[0]), 6) for prior in found]
    assert places == [0.5, 1.5, None, None]
    assert [frame.index for frame in sequence.frames(2)] == [0, 1] and sequence.count() == 4


def test_a_dataset_gives_its_true_poses_in_meters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_small_intrinsics("nrgbd", monkeypatch)
    sequence = open_sequence(nrgbd(tmp_path))
    truth = sequence.ground_truth()
    assert truth is not None and truth.trajectory is not None
    with_prior: list[Frame] = [frame for frame in RecordedOdometry(sequence).frames() if frame.prior is not None]
    assert with_prior
    for frame in with_prior:
        true = truth.trajectory.at(frame.stamp, 0)
        assert true is not None and frame.prior is not None
        np.testing.assert_allclose(frame.prior.matrix(), true.matrix(), atol=1e-9)


@pytest.mark.parametrize("case", ["no tf", "no topic", "images", "topic of no bag"])
def test_a_recording_without_odometry_is_refused(case: str, tmp_path: Path) -> None:
    if case in ("images", "topic of no bag"):
        topic = "/odom" if case == "topic of no bag" else ""
        for number in range(2):
            write_image(tmp_path / f"{number}.png", number)
        with pytest.raises(DataError, match="odometry"):
            RecordedOdometry(open_sequence(tmp_path), topic)
        return
    path = bag(tmp_path / "bag", links=case != "no tf")
    with pytest.raises(DataError, match="no such topic" if case == "no topic" else "nothing that leads to 'camera'"):
        RecordedOdometry(load(path), "/odom" if case == "no topic" else "")
