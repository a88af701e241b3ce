from __future__ import annotations

import numpy as np
import pytest
from odometry_walks import World, answers, odometry, turning_in_place, walk

from spann3r_ros.mapping.path_scale import DIFFERS, STANDING, STILL, PathSamples, PathScale, path_scale
from spann3r_ros.sim3 import Sim3

SEEDS = 20


def compared(truth: list[Sim3], told: list[Sim3], unit: float, seed: int, **noise: float) -> PathScale:
    world = World().take(answers(truth, told, unit, np.random.default_rng(seed), **noise))
    return path_scale(world.usual.anchor.track.arrays(world.map))


@pytest.mark.parametrize(("noise", "most"), [(0.0, 0.005), (0.01, 0.01)], ids=["odometry only", "and 3 cm of the pose"])
def test_odometry_with_one_percent_noise_tells_the_scale_after_five_meters(noise: float, most: float) -> None:
    errors, deviations = [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        unit = float(np.exp(rng.uniform(-2, 2)))
        truth = walk(100, 5.0, rng)
        found = compared(truth, odometry(truth, rng), unit, seed, place_noise=noise, turn_noise=noise / 2)
        assert found.value is not None and found.reason == "" and found.jumps == 0
        errors.append(abs(found.value / unit - 1))
        deviations.append(found.deviation)
    print(f"scale error after 5 m, {SEEDS} seeds: worst {max(errors):.4f}, mean {np.mean(errors):.4f}")
    assert max(errors) <= most
    # What it says of itself is true: neither far too sure nor of no use.
    assert np.mean(np.array(errors) < 2 * np.array(deviations)) >= 0.9
    assert max(deviations) < 0.03


def test_noise_of_the_camera_does_not_make_the_scale_smaller() -> None:
    """Regressed the other way it would: by three times the noise's share."""
    ratios = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        truth = walk(150, 3.0, rng)
        found = compared(truth, odometry(truth, rng), 1.0, seed, place_noise=0.08, turn_noise=0.02)
        assert found.value is not None
        ratios.append(found.value)
    assert abs(np.mean(ratios) - 1) < 0.03


def test_drift_over_a_long_way_does_not_spoil_the_scale() -> None:
    rng = np.random.default_rng(0)
    truth = walk(400, 40.0, rng, turning=6.0)
    told = odometry(truth, rng, noise=0.03)
    assert (
        np.linalg.norm((told[0].inverse() @ told[-1]).translation - (truth[0].inverse() @ truth[-1]).translation) > 1.0
    )
    found = compared(truth, told, 2.0, 0)
    assert found.value is not None and abs(found.value / 2.0 - 1) < 0.01


def test_a_camera_that_only_turns_tells_no_scale_even_where_wrong_places_turn_with_it() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        truth = turning_in_place(150, rng)
        told = odometry(truth, rng, jitter=0.01)
        assert compared(truth, told, 1.0, seed).value is None
        # A wrong focal length makes the camera wander with its rotation.
        wandering = [Sim3.rigid(pose.rotation, pose.rotation @ [0.0, 0.0, 0.04]) for pose in truth]
        wobbling = [Sim3.rigid(pose.rotation, pose.translation + pose.rotation @ [0.0, 0.0, 0.03]) for pose in told]
        assert compared(wandering, wobbling, 1.0, seed).value is None


def test_odometry_that_stands_still_and_a_camera_that_does_are_named() -> None:
    rng = np.random.default_rng(1)
    moving = walk(120, 6.0, rng)
    standing = [moving[0]] * 120
    found = compared(moving, odometry(standing, rng, jitter=0.003), 1.0, 1)
    assert (found.value, found.reason) == (None, STANDING)
    found = compared(standing, odometry(moving, rng), 1.0, 1, place_noise=0.003)
    assert (found.value, found.reason) == (None, STILL)


def test_jumps_cut_the_path_and_are_counted() -> None:
    rng = np.random.default_rng(2)
    truth = walk(200, 10.0, rng)
    told = odometry(truth, rng)
    for place in (60, 130):
        jump = Sim3(translation=np.array([1.5, -2.0, 0.0]))
        told[place:] = [jump @ pose for pose in told[place:]]
    found = compared(truth, told, 3.0, 2)
    assert found.jumps == 2
    assert found.value is not None and abs(found.value / 3.0 - 1) < 0.01


def test_odometry_of_another_robot_is_no_odometry() -> None:
    truth, other = walk(150, 8.0, np.random.default_rng(3)), walk(150, 8.0, np.random.default_rng(4), turning=5.0)
    found = compared(truth, odometry(other, np.random.default_rng(5)), 1.0, 3)
    assert found.reason == DIFFERS
    assert found.value is None or found.deviation > 0.03


def test_nothing_is_said_of_nothing() -> None:
    empty = PathSamples(np.zeros(0, np.int64), *(np.zeros((0, 3)),) * 2, *(np.zeros((0, 3, 3)),) * 2, np.zeros(0))
    assert path_scale(empty) == PathScale(None, np.inf, "", 0, 0)
    rng = np.random.default_rng(6)
    truth = walk(20, 1.0, rng)
    assert compared(truth, odometry(truth, rng), 1.0, 6).value is None
