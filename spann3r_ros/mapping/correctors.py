"""The correctors of a usual reconstruction that place and scale submaps."""

from __future__ import annotations

from dataclasses import dataclass

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import Config
from spann3r_ros.mapping.joints import SubmapJoints
from spann3r_ros.mapping.measured_scale import BaselineScale, DepthScale, RigLookup
from spann3r_ros.mapping.odometry import OdometryAnchor, OdometryScale
from spann3r_ros.mapping.odometry_track import OdometryTrack, PriorLookup
from spann3r_ros.mapping.pose_graph import PoseGraph
from spann3r_ros.mapping.scale import WorldScale


@dataclass(frozen=True)
class UsualCorrectors:
    """What moves submaps.

    Attributes:
        joints: by frames that two submaps share.
        anchor: by odometry.
        scale: of the whole world.
        baseline: one of its sources.
    """

    joints: SubmapJoints
    anchor: OdometryAnchor
    scale: WorldScale
    baseline: BaselineScale

    @classmethod
    def of(cls, config: Config, model_is_metric: bool, graph: PoseGraph, complaints: Complaints) -> UsualCorrectors:
        """For one reconstruction; joints and odometry become edges of the graph."""
        joints, track = SubmapJoints(graph), OdometryTrack()
        baseline = BaselineScale(asked=config.scale.source == BaselineScale.name)
        odometry = OdometryScale(track)
        anchor = OdometryAnchor(track, odometry, graph, complaints)
        scale = WorldScale(config.scale, [DepthScale(), baseline, odometry], model_is_metric, complaints)
        return cls(joints, anchor, scale, baseline)

    def tell(self, prior: PriorLookup | None, rig: RigLookup) -> None:
        """Whom to ask for odometry that comes after its frame, if anybody, and how two cameras lie to each other."""
        self.anchor.track.lookup, self.baseline.lookup = prior, rig
