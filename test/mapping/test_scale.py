from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from odometry_walks import World, answers, odometry, turning_in_place, walk

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import MapConfig, ScaleConfig
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.scale import ORDER, WorldScale
from spann3r_ros.mapping.scale_estimate import ScaleEstimate
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

SEEDS = 20


class Oracle:
    """A source that says what it is told to."""

    def __init__(self, name: str, found: ScaleEstimate | None = None) -> None:
        self.name, self.found, self.trouble = name, found, ""

    def observe(self, prediction: Prediction) -> None: ...

    def estimate(self, _world: Map) -> ScaleEstimate | None:
        return self.found

    def clear(self) -> None: ...

    def saved(self) -> dict[str, NDArray[np.float64]]:
        return {"trouble": np.array(self.trouble)}

    def restore(self, state: Mapping[str, NDArray[np.float64]], /) -> None:
        self.trouble = str(state["trouble"]) if state else ""


class Judged:
    """A world, and a scale by oracles."""

    def __init__(self, source: str = "auto", *, metric: bool = False, constant: float = 1.0, **oracles: object) -> None:
        self.config = ScaleConfig(source, 0.03, constant)
        self.oracles = {name: Oracle(name, value) for name, value in oracles.items()}  # type: ignore[arg-type]
        self.logged: list[str] = []
        self.complaints = Complaints(lambda _, text: self.logged.append(text))
        self.scale = WorldScale(self.config, list(self.oracles.values()), metric, self.complaints)
        self.map = Map(MapConfig(voxel_size=0.5, max_points=1000))
        self.map.open_submap(1, Sim3(1.5, translation=np.array([1.0, 2.0, 3.0])))
        self.map.scale_source = self.scale.first_source
        self.answer = answers([Sim3()], [None], 1.0, np.random.default_rng(0))[0]

    def step(self) -> int:
        """One answer; how many submaps it moved."""
        corrections = self.scale.observe(self.answer, self.map)
        for each in corrections:
            self.map.move(each.submap, each.world_from_submap, each.reason, each.scale_source)
        return len(corrections)

    def says(self, source: str, value: float, deviation: float = 0.01) -> None:
        self.oracles[source].found = ScaleEstimate(value, deviation, 5, 20)

    def complaint(self, kind: str) -> str:
        return next((each.text for each in self.complaints.current() if each.kind == kind), "")


def test_the_whole_world_is_scaled_so_that_joined_submaps_stay_joined() -> None:
    judged = Judged(odometry=ScaleEstimate(2.0, 0.01, 7, 40))
    before = judged.map.submap(0).world_from_submap.inverse() @ judged.map.submap(1).world_from_submap
    assert judged.step() == 2
    assert judged.map.metric and judged.map.scale_source == "odometry"
    assert judged.map.submap(0).world_from_submap.scale == pytest.approx(2.0)
    np.testing.assert_allclose(judged.map.submap(1).world_from_submap.translation, [2.0, 4.0, 6.0])
    after = judged.map.submap(0).world_from_submap.inverse() @ judged.map.submap(1).world_from_submap
    np.testing.assert_allclose(after.matrix(), before.matrix(), atol=1e-12)
    status = judged.scale.status
    assert (status.source, status.value, status.deviation, status.stamp) == ("odometry", 2.0, 0.01, 7)
    assert "40 measurements by odometry" in status.note


def test_small_changes_do_not_shake_the_world() -> None:
    judged = Judged(odometry=ScaleEstimate(2.0, 0.01, 7, 40))
    assert judged.step() == 2
    judged.says("odometry", 2.004)
    assert judged.step() == 0 and judged.scale.status.value == 2.0
    judged.says("odometry", 2.02)
    assert judged.step() == 2 and judged.map.submap(0).world_from_submap.scale == pytest.approx(2.02)


def test_a_scale_that_is_not_sure_makes_nothing_metric_and_is_told() -> None:
    judged = Judged(odometry=ScaleEstimate(2.0, 0.05, 7, 40))
    assert judged.step() == 0 and not judged.map.metric
    assert judged.scale.status.note == "odometry knows the scale to 5.0 %"
    assert math.isnan(judged.scale.status.value)
    judged.config.max_deviation = 0.06  # it is live
    assert judged.step() == 2 and judged.map.metric


def test_a_scale_that_gets_doubtful_is_withdrawn_and_comes_back() -> None:
    judged = Judged(odometry=ScaleEstimate(2.0, 0.01, 7, 40))
    judged.step()
    judged.says("odometry", 2.0, 0.05)  # less sure, but not in doubt
    assert judged.step() == 0 and judged.map.metric
    judged.says("odometry", 2.3, 0.2)
    assert judged.step() == 1 and not judged.map.metric and judged.map.scale_source == ""
    assert "not called metric any more" in judged.complaint("scale withdrawn")
    assert judged.map.submap(0).world_from_submap.scale == pytest.approx(2.0)  # it moves by nothing
    judged.says("odometry", 2.1, 0.01)
    assert judged.step() == 2 and judged.map.metric and not judged.complaint("scale withdrawn")


def test_the_more_trusted_source_wins_and_the_contradiction_is_told() -> None:
    assert ORDER == ("depth", "baseline", "odometry", "model")
    sources = {name: ScaleEstimate(value, 0.01, 1, 9) for name, value in (("odometry", 2.0), ("depth", 2.5))}
    judged = Judged(**sources)
    judged.step()
    assert judged.map.scale_source == "depth"
    text = judged.complaint("scale sources")
    assert "one unit of the network is 2.5 m by depth, which is trusted, but odometry 2 m" in text
    judged.says("odometry", 2.51)
    judged.step()
    assert not judged.complaint("scale sources")
    assert any("agree" in line for line in judged.logged)


def test_millimeters_for_meters_are_called_so() -> None:
    judged = Judged(baseline=ScaleEstimate(2.0, 0.01, 1, 9), odometry=ScaleEstimate(2000.0, 0.01, 1, 9))
    judged.step()
    assert "millimeters and meters are mixed up" in judged.complaint("scale sources")


def test_a_metric_network_is_believed_until_something_better_is_there() -> None:
    judged = Judged(metric=True, odometry=None)
    assert judged.step() == 0
    assert (judged.map.scale_source, judged.scale.status.source, judged.scale.status.value) == ("model", "model", 1.0)
    judged.says("odometry", 1.04)
    judged.step()
    assert judged.map.scale_source == "odometry" and not judged.complaint("scale sources")
    judged.says("odometry", 1.5)
    judged.step()
    assert "model 1 m" in judged.complaint("scale sources")


def test_only_the_source_that_was_asked_for_counts() -> None:
    judged = Judged("depth", metric=True, odometry=ScaleEstimate(2.0, 0.01, 1, 9), depth=None)
    for _ in range(40):
        assert judged.step() == 0
    assert not judged.map.metric
    assert "scale.source is depth, but there is no measurement yet" in judged.complaint("scale missing")
    judged.says("depth", 3.0)
    assert judged.step() == 2 and judged.map.scale_source == "depth"
    assert not judged.complaint("scale missing")


def test_the_network_s_word_alone_where_it_has_none() -> None:
    judged = Judged("model", odometry=ScaleEstimate(2.0, 0.01, 1, 9))
    for _ in range(40):
        judged.step()
    assert not judged.map.metric
    assert "this network does not speak in meters" in judged.complaint("scale missing")


def test_a_constant_is_declared_once_and_stays() -> None:
    judged = Judged("constant", constant=0.25, metric=True, odometry=ScaleEstimate(2.0, 0.01, 1, 9))
    assert judged.step() == 2 and judged.step() == 0
    assert (judged.map.scale_source, judged.map.submap(0).world_from_submap.scale) == ("constant", 0.25)
    assert judged.scale.status.note == "scale.constant declares 0.25 m for one unit of the network"
    judged.scale.clear()
    judged.map.clear()
    assert judged.step() == 1 and judged.map.submap(0).world_from_submap.scale == 0.25


def test_its_state_is_saved_and_what_it_did_not_write_is_refused() -> None:
    judged = Judged(odometry=ScaleEstimate(2.0, 0.01, 7, 40))
    judged.step()
    judged.oracles["odometry"].trouble = "slips"
    state = judged.scale.saved()
    other = Judged(odometry=None)
    other.scale.restore(state)
    assert other.scale.status.value == 2.0 and other.scale.status.source == "odometry"
    assert other.oracles["odometry"].trouble == "slips"
    with pytest.raises(ValueError, match="scale of a saved map"):
        other.scale.restore({**state, "status": np.zeros(3)})
    assert other.scale.status.value == 2.0
    other.scale.restore({})
    assert other.scale.status.source == ""


def test_after_five_meters_of_odometry_the_world_is_metric_and_right() -> None:
    errors, ways = [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        unit = float(np.exp(rng.uniform(-2, 2)))
        truth = walk(90, 5.0, rng)
        world = World().take(answers(truth, odometry(truth, rng), unit, rng))
        assert world.map.metric and world.map.scale_source == "odometry"
        errors.append(abs(world.scale / unit - 1))
        ways.append(5.0 * world.metric_after / 90)
    print(f"world after 5 m, {SEEDS} seeds: worst error {max(errors):.4f}, metric after {np.mean(ways):.2f} m")
    assert max(errors) <= 0.01


@pytest.mark.parametrize("case", ["turning", "odometry stands", "camera stands"])
def test_it_is_never_metric_without_translation_on_both_sides(case: str) -> None:
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        truth = turning_in_place(90, rng) if case == "turning" else walk(90, 6.0, rng)
        told = odometry([truth[0]] * 90 if case == "odometry stands" else truth, rng, jitter=0.005)
        seen = [truth[0]] * 90 if case == "camera stands" else truth
        world = World().take(answers(seen, told, 1.0, rng))
        assert world.metric_after < 0 and not world.map.metric
    print(f"{case}: metric in 0 of {SEEDS} seeds")
