"""Rendered sequences: exact geometry, fixed by the random generator."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs numba")

from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.training.data import PLACES, batch_of, sequences_from
from spann3r_ros.training.rendered import RenderedSource, weakened
from spann3r_ros.training.schedule import Curriculum, Stage


@pytest.fixture(scope="module")
def source() -> RenderedSource:
    return RenderedSource(Scene.apartment(), (24, 32))


def test_same_step_same_batch_and_other_steps_others(source: RenderedSource) -> None:
    curriculum = Curriculum((Stage("clips", 3, 2, 3),))
    first, again = (batch_of(source, curriculum.plan(1), 7, 8) for _ in range(2))
    other = batch_of(source, curriculum.plan(2), 7, 8)
    assert first.images.equal(again.images) and first.points.equal(again.points)
    assert not first.images.equal(other.images)
    assert first.images.shape == (2, 3, 3, 24, 32) and -1 <= float(first.images.min()) < float(first.images.max()) <= 1


def test_windows_of_a_walk_share_frames_and_the_first_camera(source: RenderedSource) -> None:
    clips = [source.walk(np.random.default_rng(3), 9, first, 5, 0) for first in (0, 4)]
    np.testing.assert_array_equal(clips[0].points[4], clips[1].points[0])
    np.testing.assert_array_equal(clips[0].camera_from_world, clips[1].camera_from_world)
    first = sequences_from(clips[:1], 8).points[0, 0]
    # In its own camera a pixel's point lies on the pixel's ray: x and y in proportion to z all along a column.
    slope = (first[..., 0] / first[..., 2]).numpy()
    np.testing.assert_allclose(slope, np.broadcast_to(slope[:1], slope.shape), atol=1e-4)
    assert float(first[..., 2].min()) > 0


def test_places_are_mean_world_points_of_the_parts_of_a_patch(source: RenderedSource) -> None:
    clip = source.clip(np.random.default_rng(0), 2, 3.0)
    places = sequences_from([clip], 8).places
    assert places is not None and places.shape == (1, 2, 12, 3 * PLACES**2)
    # Token 5 of a grid 4 wide is row 1, column 1; its part (0, 1) is the second of its first row.
    corner = clip.points[1, 8:10, 10:12].mean((0, 1))
    np.testing.assert_allclose(places[0, 1, 5, 3:6].numpy(), corner, rtol=1e-5)


def test_random_scenes_have_no_places() -> None:
    clip = RenderedSource(None, (24, 32)).clip(np.random.default_rng(0), 2, 3.0)
    assert sequences_from([clip], 8).places is None


def test_weakened_augmentation_keeps_the_share_of_blurred_frames() -> None:
    half, whole = weakened(0.5), weakened(1.0)
    assert half.exposure == pytest.approx(0.5 * whole.exposure)
    assert half.blurred == whole.blurred
