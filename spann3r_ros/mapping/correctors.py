"""The correctors of a usual reconstruction that place and scale submaps."""

from __future__ import annotations

from dataclasses import dataclass

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import Config
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.corrections import Corrector
from spann3r_ros.mapping.graph_corrections import GraphCorrections
from spann3r_ros.mapping.joints import SubmapJoints
from spann3r_ros.mapping.loop_closure import LoopClosure
from spann3r_ros.mapping.loop_search import Sight
from spann3r_ros.mapping.measured_scale import BaselineScale, DepthScale, RigLookup
from spann3r_ros.mapping.odometry import OdometryAnchor, ScaleByOdometry
from spann3r_ros.mapping.odometry_track import OdometryTrack, PriorLookup
from spann3r_ros.mapping.pose_graph import PoseGraph
from spann3r_ros.mapping.scale import WorldScale


@dataclass(frozen=True)
class UsualCorrectors:
    """What moves submaps.

    Attributes:
        joints: by frames that two submaps share.
        loops: by places that are seen again.
        anchor: by odometry.
        graph: by all of these together.
        scale: of the whole world.
        baseline: one of its sources.
        measurements: that joints, loops and odometry share.
    """

    joints: SubmapJoints
    loops: LoopClosure
    anchor: OdometryAnchor
    graph: GraphCorrections
    scale: WorldScale
    baseline: BaselineScale
    measurements: PoseGraph

    @classmethod
    def of(
        cls,
        config: Config,
        model_is_metric: bool,
        complaints: Complaints,
        sight: Sight,
        background: Background | None = None,
        shared: int = 0,
    ) -> UsualCorrectors:
        """For one reconstruction, by what its model sees; without a background all is done between frames.

        ``shared`` is how many frames two windows of the model share.
        """
        graph, background = PoseGraph(), background or Background(False)
        joints = SubmapJoints(graph, config.submap.alignment, max(shared, config.submap.overlap))
        track = OdometryTrack()
        loops = LoopClosure(config.loops, graph, sight.relate, background, sight.describe, complaints)
        baseline = BaselineScale(asked=config.scale.source == BaselineScale.name)
        odometry = ScaleByOdometry(track)
        anchor = OdometryAnchor(track, odometry, graph, complaints)
        scale = WorldScale(config.scale, [DepthScale(), baseline, odometry], model_is_metric, complaints)
        corrections = GraphCorrections(graph, background, complaints)
        return cls(joints, loops, anchor, corrections, scale, baseline, graph)

    def in_order(self) -> list[Corrector]:
        """Joints before odometry, which leaves joined submaps alone.

        The graph after all that give it edges; the scale last, for it carries all of them.
        """
        return [self.joints, self.loops, self.anchor, self.graph, self.scale]

    def tell(self, prior: PriorLookup | None, rig: RigLookup) -> None:
        """Whom to ask for odometry that comes after its frame, if anybody, and how two cameras lie to each other."""
        self.anchor.track.lookup, self.baseline.lookup = prior, rig
