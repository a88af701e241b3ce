"""How a reconstruction is compared with the truth: the protocols of the literature, by name.

They differ in which frames are used and how prediction and truth are aligned, so their numbers must never be
put side by side; a report always says which one it followed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from spann3r_ros.errors import ConfigError

MEDIAN, SIM3, NONE = "median", "sim3", "none"

ALIGNMENTS = {
    MEDIAN: "scale and a shift along the first camera's z axis, by medians (Spann3R); no rotation",
    SIM3: "Sim(3) by Umeyama's method on the pixels' pairs",
    NONE: "none: only for models whose unit is that of the truth",
}


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate.

    Attributes:
        name, summary: for reports.
        every: which frames are used, ``1, 1 + every, ...``, by the layout of the source; ``default`` for the others.
        alignment: one of ``ALIGNMENTS``, before ICP.
        icp_distance: largest distance of a match in ICP by the unit of the truth; 0: no ICP.
        threshold: distance of the F-score by unit.
        max_points: each cloud is thinned to at most this many points (drawn with seed 0); 0: never.
    """

    name: str
    summary: str
    every: Mapping[str, int]
    alignment: str
    icp_distance: Mapping[str, float] = field(default_factory=lambda: {"m": 0.1, "mm": 100.0})
    threshold: Mapping[str, float] = field(default_factory=lambda: {"m": 0.05, "mm": 50.0})
    max_points: int = 0

    def stride(self, layout: str) -> int:
        """Which frames of a layout are used."""
        return self.every.get(layout, self.every.get("default", 1))


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "spann3r",
            "Spann3R (3DV 2025): 7-Scenes every 20th frame, Neural RGB-D every 40th, DTU every 5th; "
            "alignment by medians, then ICP",
            {"7scenes": 20, "nrgbd": 40, "dtu": 5},
            MEDIAN,
        ),
        Protocol(
            "sparse",
            "few views (CUT3R, Pi3): 7-Scenes every 200th frame, Neural RGB-D every 500th; Sim(3) alignment, then ICP",
            {"7scenes": 200, "nrgbd": 500, "dtu": 5},
            SIM3,
        ),
        Protocol(
            "dense",
            "many views (Pi3): 7-Scenes every 40th frame, Neural RGB-D every 100th; Sim(3) alignment, then ICP",
            {"7scenes": 40, "nrgbd": 100, "dtu": 5},
            SIM3,
        ),
        Protocol(
            "every",
            "every frame, as a robot uses it; Sim(3) alignment, then ICP; clouds thinned to 500,000 points",
            {},
            SIM3,
            max_points=500_000,
        ),
    )
}


def protocol(name: str, **changes: object) -> Protocol:
    """A protocol by name, some fields changed (then its name says so); raises ConfigError for an unknown one."""
    if name not in PROTOCOLS:
        raise ConfigError("protocol", got=name, expected=" | ".join(PROTOCOLS))
    found = PROTOCOLS[name]
    different = {key: value for key, value in changes.items() if value is not None and value != getattr(found, key)}
    if not different:
        return found
    if different.get("alignment", found.alignment) not in ALIGNMENTS:
        raise ConfigError("alignment", got=different["alignment"], expected=" | ".join(ALIGNMENTS))
    changed = ", ".join(f"{key}={value}" for key, value in different.items())
    return dataclasses.replace(found, name=f"{name} with {changed}", **different)  # type: ignore[arg-type]
