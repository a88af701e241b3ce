"""The meter: from several sources of scale, the most trusted one that is sure enough, applied to the whole world."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import ScaleConfig
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.scale_estimate import ScaleEstimate
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

logger = logging.getLogger(__name__)

ORDER = ("depth", "baseline", "odometry", "model")
"""What ``auto`` trusts, the most trusted first: a sensor that sees the very scene, a rig that is calibrated, wheels or
an estimator that may slip, and a network's word."""

AUTO, MODEL, CONSTANT = "auto", "model", "constant"

LEAST_CHANGE = 0.002
"""The world is not scaled anew for less than this, nor for less than a quarter of a standard deviation."""

CONTRADICTION = 3.0
"""Standard deviations that two sources may differ by."""

WORD_DEVIATION = 0.03
"""Relative deviation that is taken for a network's word, which tells none."""

WITHDRAWAL = 2.0
"""A scale whose source became so many times less sure than ``max_deviation`` is withdrawn."""

LARGE = 300.0
"""Two sources that differ by such a factor mix up millimeters and meters."""

PATIENCE = 30
"""Answers without a measurement after which a source that was asked for is missed."""


class ScaleSource(Protocol):
    """Something that measures meters.

    Attributes:
        name: one of the values of ``scale.source``.
        trouble: what is wrong with it, for people; empty when nothing is.
    """

    name: str
    trouble: str

    def observe(self, prediction: Prediction) -> None:
        """Take what a prediction, which is in the map already, tells."""
        ...

    def estimate(self, world: Map) -> ScaleEstimate | None:
        """What is known so far; None while nothing is."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def saved(self) -> Mapping[str, NDArray[Any]]:
        """As of ``Corrector``."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]], /) -> None:
        """As of ``Corrector``."""
        ...


@dataclass(frozen=True)
class ScaleStatus:
    """How the scale of the world is known.

    Attributes:
        source: what made the world metric; empty while nothing did.
        value: meters of one unit in which the network spoke in the first submap; NaN while the world is not metric.
        deviation: relative standard deviation of the value; NaN where nobody knows it.
        stamp: nanoseconds, of the newest image that the value rests on; 0 where it rests on none.
        note: what is known, and what is missing.
    """

    source: str = ""
    value: float = math.nan
    deviation: float = math.nan
    stamp: int = 0
    note: str = ""


def first_source(config: ScaleConfig, model_is_metric: bool) -> str:
    """What makes a world metric before anything is measured: a network's word, or nothing."""
    return MODEL if model_is_metric and config.source in (AUTO, MODEL) else ""


class WorldScale:
    """Makes the unit of the world the meter; see ``Corrector``.

    All submaps are scaled together about the world's origin, so that those that are joined stay so.

    Args:
        config: of the scale; ``max_deviation`` may change between frames.
        sources: that there are; which of them are asked, the configuration says.
        model_is_metric: whether the network speaks in meters.
        complaints: where contradictions and troubles of the sources are reported.

    Attributes:
        first_source: what makes a world metric before anything is measured.
        status: how the scale is known, after the last answer.
    """

    name = "scale"

    def __init__(
        self, config: ScaleConfig, sources: Sequence[ScaleSource], model_is_metric: bool, complaints: Complaints
    ) -> None:
        self.config, self._complaints = config, complaints
        self.sources = [source for source in sources if config.source in (AUTO, source.name)]
        self.first_source = first_source(config, model_is_metric)
        self._answers = 0
        self.status = ScaleStatus()
        self.clear()

    def observe(self, prediction: Prediction, world: Map) -> list[Correction]:  # noqa: D102
        if self.config.source == CONSTANT:
            return self._declared(world)
        self._answers += prediction.final
        for source in self.sources:
            source.observe(prediction)
        estimates = {source.name: source.estimate(world) for source in self.sources}
        known = {name: found for name, found in estimates.items() if found is not None}
        sure = {name: found for name, found in known.items() if found.deviation < self.config.max_deviation}
        chosen = next((name for name in ORDER if name in sure), "")
        self._speak_of_troubles(chosen)
        if not chosen:
            return self._without(known, world)
        self._speak_of_contradictions(chosen, sure)
        return self._applied(chosen, sure[chosen], world)

    def clear(self) -> None:  # noqa: D102
        for source in self.sources:
            source.clear()
        self._answers = 0
        self.status = ScaleStatus(self.first_source, 1.0 if self.first_source else math.nan, note=self._missing({}))
        for kind in ("scale sources", "scale withdrawn", *(f"scale by {source.name}" for source in self.sources)):
            self._complaints.settle(kind)

    def saved(self) -> dict[str, NDArray[Any]]:  # noqa: D102
        state = {f"{source.name}.{name}": array for source in self.sources for name, array in source.saved().items()}
        if self.status.source:
            state["status"] = np.array([self.status.value, self.status.deviation])
            state["source"], state["stamp"] = np.array(self.status.source), np.array(self.status.stamp, np.int64)
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: D102
        before = [(source, source.saved()) for source in self.sources]
        try:
            for source in self.sources:
                prefix = f"{source.name}."
                own = {key[len(prefix) :]: array for key, array in state.items() if key.startswith(prefix)}
                source.restore(own)
            status = ScaleStatus()
            if "source" in state:
                value, deviation = (float(number) for number in state["status"])
                status = ScaleStatus(str(state["source"]), value, deviation, int(state["stamp"]))
        except (ValueError, KeyError, TypeError) as error:
            for source, saved in before:
                source.restore(saved)
            raise ValueError(f"scale of a saved map: {error}") from error
        self._answers, self.status = 0, status

    def _declared(self, world: Map) -> list[Correction]:
        value = self.config.constant
        note = f"scale.constant declares {value:g} m for one unit of the network"
        self.status = ScaleStatus(CONSTANT, value, math.nan, 0, note)
        factor = value / world.submaps[0].world_from_submap.scale
        if world.scale_source == CONSTANT and abs(math.log(factor)) < 1e-9:
            return []
        return scaled(world, factor, note, CONSTANT)

    def _applied(self, name: str, found: ScaleEstimate, world: Map) -> list[Correction]:
        """Scale the world, unless it is so already."""
        factor = found.value / world.submaps[0].world_from_submap.scale
        is_new = world.scale_source != name
        changed = abs(math.log(factor)) > max(LEAST_CHANGE, found.deviation / 4)
        kept = self.status.value if not changed and not is_new else found.value
        note = f"{found.samples} measurements by {name}"
        self.status = ScaleStatus(name, kept, found.deviation, found.stamp, note)
        self._complaints.settle("scale withdrawn", f"the map is metric again by {name}")
        if not is_new and not changed:
            return []
        reason = f"one unit of the network is {found.value:.4g} m by {name}, +- {100 * found.deviation:.1f} %"
        if is_new:
            logger.info("the map is metric: %s", reason)
        return scaled(world, factor, reason, name)

    def _without(self, known: Mapping[str, ScaleEstimate], world: Map) -> list[Correction]:
        """No source is sure enough: the world stays as it is, unless what made it metric is in doubt now."""
        note = self._missing(known)
        now = known.get(world.scale_source)
        if now is not None and now.deviation > WITHDRAWAL * self.config.max_deviation:
            text = (
                f"the map is not called metric any more: its scale by {world.scale_source} is known to "
                f"{100 * now.deviation:.0f} % only, {100 * self.config.max_deviation:g} % is asked for "
                "(scale.max_deviation)"
            )
            self._complaints.report("scale withdrawn", text, once=True)
            self.status = ScaleStatus(note=note)
            first = world.submaps[0]
            return [Correction(first.id, first.world_from_submap, text, "")]
        if world.scale_source:
            value, last = world.submaps[0].world_from_submap.scale, self.status
            self.status = ScaleStatus(world.scale_source, value, last.deviation, last.stamp, note or last.note)
        else:
            self.status = ScaleStatus(note=note)
        return []

    def _missing(self, known: Mapping[str, ScaleEstimate]) -> str:
        """What is known and not sure enough, and what is wrong with the sources."""
        parts = [f"{name} knows the scale to {100 * found.deviation:.1f} %" for name, found in known.items()]
        parts += [f"{source.name}: {source.trouble}" for source in self.sources if source.trouble]
        asked = self.config.source
        if asked in ORDER and asked not in known and not parts and self._answers >= PATIENCE:
            parts.append(f"scale.source is {asked}, but there is no measurement yet")
        if asked == MODEL and not self.first_source:
            parts.append("scale.source is model, but this network does not speak in meters")
        return "; ".join(parts)

    def _speak_of_troubles(self, chosen: str) -> None:
        for source in self.sources:
            kind = f"scale by {source.name}"
            if source.trouble:
                self._complaints.report(kind, f"no scale by {source.name}: {source.trouble}", once=True)
            else:
                self._complaints.settle(kind)
        if self.config.source in (AUTO, *([] if self._answers < PATIENCE else [chosen])):
            self._complaints.settle("scale missing")
        elif self._answers >= PATIENCE and not chosen and not any(source.trouble for source in self.sources):
            text = self._missing({}) or f"the scale by {self.config.source} is not known well enough yet"
            if not self.first_source:
                self._complaints.report("scale missing", f"the map is not metric: {text}", once=True)

    def _speak_of_contradictions(self, chosen: str, sure: Mapping[str, ScaleEstimate]) -> None:
        """Name the sources that say something else than the one that is trusted more."""
        told, others = sure[chosen], dict(sure)
        del others[chosen]
        if self.first_source:
            others[MODEL] = ScaleEstimate(1.0, WORD_DEVIATION, 0, 0)
        against = []
        for name, other in others.items():
            apart = abs(math.log(other.value / told.value))
            if apart > CONTRADICTION * math.hypot(told.deviation, other.deviation):
                hint = " (millimeters and meters are mixed up)" if apart > math.log(LARGE) else ""
                against.append(f"{name} {other.value:.4g} m{hint}")
        if not against:
            self._complaints.settle("scale sources", "the sources of the map's scale agree")
            return
        text = (
            f"the map's scale is contradictory: one unit of the network is {told.value:.4g} m by {chosen}, which is "
            f"trusted, but {', '.join(against)}. Look at their units and calibration, or set scale.source"
        )
        self._complaints.report("scale sources", text, once=True)


def scaled(world: Map, factor: float, reason: str, source: str) -> list[Correction]:
    """All submaps, scaled about the world's origin."""
    scaling = Sim3(factor)
    return [Correction(submap.id, scaling @ submap.world_from_submap, reason, source) for submap in list(world.submaps)]
