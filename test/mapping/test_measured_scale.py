from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from odometry_walks import World, answers, odometry, walk

from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.mapping.measured_scale import LEAST_RATIOS, BaselineScale, DepthScale, known_pixels, on_the_grid
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

LEFT_FROM_RIGHT = Sim3(translation=np.array([0.3, 0.0, 0.0]))


def seen(count: int, unit: float, seed: int = 0, **options: object) -> list[Prediction]:
    rng = np.random.default_rng(seed)
    truth = walk(count, 0.05 * count, rng)
    return answers(truth, [None] * count, unit, rng, **options)  # type: ignore[arg-type]


def test_measured_depth_makes_the_world_metric() -> None:
    for unit in (0.2, 1.0, 7.0):
        world = World().take(seen(LEAST_RATIOS, unit, depth=1.0))
        assert world.map.scale_source == "depth"
        assert abs(world.scale / unit - 1) < 0.01
        assert world.usual.scale.status.deviation < 0.03
        assert world.metric_after == LEAST_RATIOS - 1


def test_sparse_noisy_depth_with_outliers_is_enough() -> None:
    rng = np.random.default_rng(1)
    sparse = []
    for answer in seen(30, 3.0, depth=1.0):
        depth = answer.frame.depth
        assert depth is not None
        depth = depth * rng.normal(1, 0.03, depth.shape).astype(np.float32)
        depth[rng.random(depth.shape) < 0.15] = 9.0
        depth[rng.random(depth.shape) < 0.75] = 0.0
        frame = dataclasses.replace(answer.frame, depth=np.ascontiguousarray(depth, np.float32))
        sparse.append(dataclasses.replace(answer, frame=frame))
    world = World().take(sparse)
    assert world.map.metric and abs(world.scale / 3.0 - 1) < 0.02


@pytest.mark.parametrize(
    ("factor", "said"), [(1000.0, "32FC1 image holds meters"), (1e-3, "16UC1 image millimeters")], ids=["mm", "m"]
)
def test_depth_in_another_unit_is_told_and_not_used(factor: float, said: str) -> None:
    world = World().take(seen(30, 1.0, depth=factor))
    assert not world.map.metric
    text = world.complaint("scale by depth")
    assert "it is in another unit" in text
    assert said in text


def test_depth_of_another_view_has_nothing_in_common_and_says_so() -> None:
    rng = np.random.default_rng(2)
    wrong = []
    for answer in seen(30, 1.0, depth=1.0):
        depth = rng.uniform(0.3, 9.0, (16, 24)).astype(np.float32)
        wrong.append(dataclasses.replace(answer, frame=dataclasses.replace(answer.frame, depth=depth)))
    world = World().take(wrong)
    assert not world.map.metric
    assert "is the depth registered to the camera?" in world.complaint("scale by depth")


def test_depth_with_hardly_a_pixel_is_told_and_settles() -> None:
    good = seen(40, 1.0, depth=1.0)
    empty = np.zeros((16, 24), np.float32)
    bad = [dataclasses.replace(each, frame=dataclasses.replace(each.frame, depth=empty)) for each in good[:5]]
    world = World().take(bad)
    assert "0 known pixels" in world.complaint("scale by depth")
    world.take(good[5:])
    assert world.map.metric and not world.complaint("scale by depth")


def test_depth_and_odometry_that_contradict_each_other_are_told_and_depth_wins() -> None:
    rng = np.random.default_rng(3)
    truth = walk(120, 7.0, rng)
    told = [Sim3.rigid(pose.rotation, 1.3 * pose.translation) for pose in odometry(truth, rng)]  # a wrong wheel radius
    world = World().take(answers(truth, told, 2.0, rng, depth=1.0))
    assert world.map.scale_source == "depth" and abs(world.scale / 2.0 - 1) < 0.01
    text = world.complaint("scale sources")
    assert "by depth, which is trusted, but odometry 2.6" in text
    only = World(source="odometry").take(answers(truth, told, 2.0, np.random.default_rng(3), depth=1.0))
    assert only.map.scale_source == "odometry" and abs(only.scale / 2.6 - 1) < 0.01


def test_submaps_of_other_units_give_one_scale() -> None:
    """Where it is known how they lie to each other."""
    world = World()
    world.map.insert_pose(seen(1, 2.0)[0])
    world.map.open_submap(1, Sim3(0.25) @ world.map.submap(0).world_from_submap)  # as a joint would have found it
    world.take(seen(10, 2.0, depth=1.0))
    world.take(seen(10, 0.5, depth=1.0, submap=1, start=10))
    assert world.map.metric and abs(world.scale / 2.0 - 1) < 0.01
    assert world.map.submap(1).world_from_submap.scale == pytest.approx(0.25 * world.scale)


def stereo(count: int, unit: float, baseline: Sim3 = LEFT_FROM_RIGHT, noise: float = 0.002) -> list[Prediction]:
    """Two cameras in one memory, in the axes of the first."""
    rng = np.random.default_rng(4)
    truth = walk(count, 0.05 * count, rng)
    left = answers(truth, [None] * count, unit, rng, place_noise=noise, camera="left")
    # The first camera's axes are the submap's: the right one begins a baseline away from there.
    right = answers(truth, [None] * count, unit, rng, place_noise=noise, camera="right")
    found = []
    for one, other in zip(left, right, strict=True):
        pose = other.submap_from_camera
        assert pose is not None
        moved = pose @ Sim3.rigid(baseline.rotation, baseline.translation / unit)
        found += [one, dataclasses.replace(other, submap_from_camera=moved)]
    return found


def rigged(baseline: Sim3 | None = LEFT_FROM_RIGHT, **scale: object) -> World:
    world = World(**scale)

    def lookup(first: str, second: str, _stamp: int) -> Sim3 | None:
        if baseline is None:
            return None
        return baseline if (first, second) == ("left", "right") else baseline.inverse()

    world.usual.tell(None, lookup)
    return world


def test_two_cameras_a_known_way_apart_make_the_world_metric() -> None:
    for unit in (0.4, 5.0):
        world = rigged().take(stereo(80, unit))
        assert world.map.scale_source == "baseline"
        assert abs(world.scale / unit - 1) < 0.03


def test_cameras_that_took_their_images_apart_are_compared_by_their_odometry() -> None:
    rng = np.random.default_rng(5)
    truth = walk(120, 6.0, rng)
    told = odometry(truth, rng)
    rig = [pose @ LEFT_FROM_RIGHT for pose in told]
    left, right = stereo(120, 2.0)[::2], stereo(120, 2.0)[1::2]
    both = []
    for index, (one, other) in enumerate(zip(left, right, strict=True)):
        late = dataclasses.replace(other.frame, stamp=other.frame.stamp + 30_000_000, prior=rig[index])
        on_time = dataclasses.replace(one.frame, prior=told[index])
        both += [dataclasses.replace(one, frame=on_time), dataclasses.replace(other, frame=late)]
    source = BaselineScale()
    for answer in both:
        source.observe(answer)
    found = source.estimate(World().take(left[:1]).map)
    assert found is not None and abs(found.value / 2.0 - 1) < 0.03


def test_cameras_in_one_place_or_of_unknown_places_tell_nothing() -> None:
    turned = Sim3.rigid(np.array([[0.5, 0, -(0.75**0.5)], [0, 1, 0], [0.75**0.5, 0, 0.5]]), np.zeros(3))
    for baseline in (turned, None):
        world = rigged(baseline).take(stereo(40, 1.0, baseline or LEFT_FROM_RIGHT))
        assert not world.map.metric and not world.complaint("scale by baseline")
    asked = rigged(turned, source="baseline").take(stereo(40, 1.0, turned))
    assert "0.000 m apart by TF" in asked.complaint("scale by baseline")


def test_cameras_that_do_not_look_as_tf_says_are_told() -> None:
    turned = Sim3.rigid(np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), np.array([0.3, 0.0, 0.0]))
    world = rigged(turned).take(stereo(40, 1.0))
    assert not world.map.metric
    assert "do not look as TF says" in world.complaint("scale by baseline")


def test_measurements_are_saved_and_others_refused() -> None:
    answers_with_depth = seen(20, 3.0, depth=1.0)
    source, world = DepthScale(), World().take(answers_with_depth[:1])
    for answer in answers_with_depth:
        source.observe(answer)
    other = DepthScale()
    other.restore(source.saved())
    assert other.estimate(world.map) == source.estimate(world.map) != None  # noqa: E711
    for wrong in (np.zeros((3, 3)), -np.ones((20, 2)), np.full((20, 2), np.nan)):
        with pytest.raises(ValueError, match="measurements of the scale"):
            other.restore({**source.saved(), "values": wrong})
    assert other.estimate(world.map) == source.estimate(world.map)
    other.restore({})
    assert other.estimate(world.map) is None and other.saved() == {}


def test_pixels_are_found_on_the_grid_by_both_calibrations() -> None:
    camera, grid = Intrinsics(40.0, 40.0, 31.5, 23.5, 64, 48), Intrinsics(20.0, 20.0, 11.5, 11.5, 24, 24)
    frame = Frame(0, 1, "camera", np.zeros((48, 64, 3), np.uint8), camera)
    rows, columns = np.mgrid[:24, :24].astype(np.float32)
    points = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    sure = np.full((24, 24), 0.5, np.float32)
    colors = np.zeros((24, 24, 3), np.uint8)
    known = Prediction(frame, points, sure, colors, None, intrinsics=grid, intrinsics_source="camera_info")
    for answer in (known, dataclasses.replace(known, intrinsics_source="estimated")):
        found, confidence = on_the_grid(answer, np.array([23, 0, 47, 20]), np.array([31, 8, 60, 0]))
        np.testing.assert_allclose(found[0, :2], [11.25, 11.25], atol=0.3)
        assert confidence[0] == 0.5 and np.isnan(found[2]).all() and confidence[2] == 0
        assert np.isnan(found[3]).all()  # cut off on the left


def test_known_pixels_are_taken_evenly() -> None:
    depth = np.zeros((300, 400), np.float32)
    depth[::3, ::3] = 2.0
    rows, columns = known_pixels(depth)
    assert 5000 < len(rows) <= 10_000 and (depth[rows, columns] > 0).all()
    assert rows.max() > 290
    assert known_pixels(np.zeros((4, 4), np.float32))[0].size == 0
