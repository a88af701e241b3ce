"""Rendered sequences: exact geometry, fixed by the random generator."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs numba")

from spann3r_ros.errors import ConfigError
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


def test_origins_are_the_first_cameras_in_the_scene(source: RenderedSource) -> None:
    clip = source.walk(np.random.default_rng(3), 9, 4, 2, 1)
    batch = sequences_from([clip], 8)
    assert batch.origins is not None
    position, rotation = batch.origins[0, :3].numpy(), batch.origins[0, 3:].reshape(3, 3).numpy()
    np.testing.assert_allclose(batch.points[0].numpy() @ rotation.T + position, clip.points, atol=1e-4)


def test_random_scenes_have_no_places() -> None:
    source = RenderedSource(None, (24, 32))
    batch = sequences_from([source.clip(np.random.default_rng(0), 2, 3.0)], 8)
    assert batch.places is None and batch.origins is None
    with pytest.raises(ConfigError, match="one fixed scene"):
        source.single(np.random.default_rng(0), 8)


def test_single_images_know_their_places(source: RenderedSource) -> None:
    first, again, other = (source.single(np.random.default_rng(seed), 8) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.places, again.places)
    assert first.image.shape == (24, 32, 3) and first.places.shape == (12, 3 * PLACES**2)
    assert not np.array_equal(first.places, other.places)
    batch = batch_of(source, Curriculum((Stage("places", 1, 2, 1),)).plan(0), 7, 8)
    assert len(batch.images) == 0 and batch.singles is not None
    assert batch.singles.images.shape == (2, 3, 24, 32)
    assert batch.singles.places.shape == (2, 12, 3 * PLACES**2)
    # The camera stands where all rays meet: its axis through a place is the direction of the place.
    position, rotation = first.camera[:3], first.camera[3:].reshape(3, 3)
    seen = (first.places.reshape(-1, 3) - position) @ rotation
    assert (seen[:, 2] > 0).all() and (np.abs(seen[:, 0] / seen[:, 2]) < 1).all()


def test_a_pool_of_single_images_is_rendered_once_and_shown_with_other_colors() -> None:
    pooled = RenderedSource(Scene.apartment(), (24, 32), pool=1)
    shown = [pooled.single(np.random.default_rng(seed), 8) for seed in range(3)]
    assert shown[0].places is shown[1].places is shown[2].places
    assert not np.array_equal(shown[0].image, shown[1].image)
    # Which images a pool holds does not depend on who asks first: a resumed training sees the same ones.
    fresh = RenderedSource(Scene.apartment(), (24, 32), pool=1).single(np.random.default_rng(2), 8)
    np.testing.assert_array_equal(fresh.image, shown[2].image)


def test_weakened_augmentation_keeps_the_share_of_blurred_frames() -> None:
    half, whole = weakened(0.5), weakened(1.0)
    assert half.exposure == pytest.approx(0.5 * whole.exposure)
    assert half.blurred == whole.blurred
