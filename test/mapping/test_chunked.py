"""The pipeline on a base model that answers from geometry, in units that drift from chunk to chunk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from geometric_models import CAMERA, true_points
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.geometry.irls import IrlsSettings
from spann3r_ros.mapping.chunked import ChunkAnswer, ChunkedSettings, reconstruct_in_chunks
from spann3r_ros.sim3 import Sim3

SMALL = ChunkedSettings(size=8, overlap=4, loop_size=4)


def true_camera(index: int) -> Sim3:
    """There and back again: the frames from 16 on see what those before saw."""
    turn = Rotation.from_euler("y", 4.0 * min(index, 32 - index), degrees=True)
    return Sim3.rigid(turn.as_matrix(), np.array([0.1 * index, 0, 0]))


class Camera:
    """Answers exactly but for the unit and frame of each call, and a bend that makes chains of chunks drift."""

    def __init__(self, bend: float = 0.0) -> None:
        self.bend, self.calls = bend, 0

    def __call__(self, frames: Sequence[int]) -> ChunkAnswer:
        self.calls += 1
        rng = np.random.default_rng(self.calls)
        own = Sim3(float(rng.uniform(0.5, 2)), Rotation.from_rotvec(rng.normal(size=3)).as_matrix(), rng.normal(size=3))
        points, poses = [], []
        for place, frame in enumerate(frames):
            stretch = Sim3(1.0 + self.bend * place, np.eye(3), np.zeros(3))
            moved = own @ stretch
            points.append(moved.apply(np.asarray(true_points(frame % 17)[::4, ::4] + [0.1 * frame, 0, 0])))
            poses.append(moved.carry(true_camera(frame)))
        shape = np.shape(points)[:-1]
        return ChunkAnswer(np.array(points, np.float32), rng.uniform(1, 3, shape).astype(np.float32), poses)


def path_error(poses: Sequence[Sim3], first: Sim3) -> float:
    """Largest distance to the true path, in the frame and unit of the first chunk."""
    true = [first.carry(true_camera(index)) for index in range(len(poses))]
    return max(float(np.linalg.norm(a.translation - b.translation)) for a, b in zip(poses, true, strict=True))


def first_frame() -> Sim3:
    rng = np.random.default_rng(1)
    return Sim3(float(rng.uniform(0.5, 2)), Rotation.from_rotvec(rng.normal(size=3)).as_matrix(), rng.normal(size=3))


def test_chunks_of_any_unit_come_into_the_first_ones_frame() -> None:
    found = reconstruct_in_chunks(30, Camera(), settings=SMALL)
    assert len(found.chunks) == 7 and found.loops == [] and found.steps == found.measured
    assert path_error(found.world_from_camera(), first_frame()) < 1e-4
    assert all(pose.scale == 1 for pose in found.world_from_camera())


def test_every_chunk_has_its_cloud_the_last_one_and_a_single_one_too() -> None:
    for images in (30, 5):
        found = reconstruct_in_chunks(images, Camera(), settings=SMALL)
        clouds = list(found.clouds())
        assert len(clouds) == len(found.chunks) and all(len(cloud) > 10 for cloud in clouds)
        everything = found.world_from_chunk[-1].apply(found.answers[-1].points).reshape(-1, 3)
        assert {tuple(point) for point in clouds[-1]} < {tuple(point) for point in everything}


def test_a_loop_bends_the_chain_back() -> None:
    chain = reconstruct_in_chunks(30, Camera(bend=0.01), settings=SMALL)
    closed = reconstruct_in_chunks(30, Camera(bend=0.01), [(28, 2)], SMALL)
    ((chunk_a, window_a, chunk_b, window_b),) = closed.items
    assert (chunk_a, chunk_b) == (6, 0) and window_a == (26, 30) and window_b == (0, 4)

    def open_gap(steps: Sequence[Sim3]) -> float:
        """How far the chain and the loop disagree about the last chunk's scale."""
        total = Sim3()
        for step in steps:
            total = total @ step
        (edge,) = closed.loops
        return abs(np.log(total.scale * edge.second_from_first.inverse().scale))

    assert open_gap(chain.steps) > 0.05 and open_gap(closed.steps) < 0.3 * open_gap(chain.steps)


def test_a_network_in_meters_keeps_its_scale() -> None:
    def metric(frames: Sequence[int]) -> ChunkAnswer:
        answer = Camera()(frames)
        unit = 1.0 / first_frame().scale
        poses = [Sim3.rigid(pose.rotation, unit * pose.translation) for pose in answer.chunk_from_camera]
        return ChunkAnswer(answer.points * np.float32(unit), answer.confidence, poses)

    rigid = ChunkedSettings(8, 4, 4, IrlsSettings(rigid=True))
    assert all(step.scale == 1.0 for step in reconstruct_in_chunks(30, metric, settings=rigid).steps)


def test_an_answer_about_other_images_and_impossible_sizes_are_refused() -> None:
    with pytest.raises(DataError, match=r"images in the answer about a chunk: got \(7, 7, 7\); expected 8 each"):
        reconstruct_in_chunks(30, lambda frames: Camera()(frames[1:]), settings=SMALL)
    with pytest.raises(ConfigError, match="frames around an end of a loop"):
        ChunkedSettings(loop_size=1)
    assert CAMERA.width == 48
