"""What the reconstruction holds, for status messages and diagnostics while the worker goes on."""

from __future__ import annotations

from dataclasses import dataclass

from spann3r_ros.mapping.loop_closure import LoopStatus
from spann3r_ros.mapping.scale import ScaleStatus
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.reconstruction import Reconstruction


@dataclass(frozen=True)
class Snapshot:
    """What the reconstruction holds, taken on the worker's thread between two frames."""

    frame_index: int
    output_stamp: int
    points: int
    points_forgotten: int
    points_refused: int
    points_cleared: int
    forgetting_rate: float
    voxel_size: float
    posed_frames: int
    submaps: int
    loops: LoopStatus
    map_revision: int
    metric: bool
    scale_source: str
    scale: ScaleStatus
    last_correction: str
    tracking: str
    tracking_reason: str
    lost_frames: int
    is_relocalizing: bool
    memory: MemoryStatus
    network_seconds: float

    @classmethod
    def of(cls, reconstruction: Reconstruction, frame_index: int = 0, output_stamp: int = 0) -> Snapshot:
        """What is held now.

        Args:
            reconstruction: of which nobody changes anything meanwhile.
            frame_index: of the newest image that it was shown.
            output_stamp: of the newest image that it answered, nanoseconds; 0 before the first.
        """
        submaps = reconstruction.map.submaps
        return cls(
            frame_index=frame_index,
            output_stamp=output_stamp,
            points=sum(len(submap.voxels) for submap in submaps),
            points_forgotten=reconstruction.map.forgotten,
            forgetting_rate=reconstruction.map.forgetting_rate,
            points_refused=reconstruction.map.refused,
            points_cleared=reconstruction.map.cleared,
            voxel_size=reconstruction.map.voxel_size,
            posed_frames=sum(len(submap.poses) for submap in submaps),
            submaps=len(submaps),
            loops=reconstruction.loops(),
            map_revision=reconstruction.map.revision,
            metric=reconstruction.metric,
            scale_source=reconstruction.scale_source,
            scale=reconstruction.scale,
            last_correction=reconstruction.map.reason,
            tracking=reconstruction.tracking.state,
            tracking_reason=reconstruction.tracking.reason,
            lost_frames=reconstruction.tracking.lost_frames,
            is_relocalizing=reconstruction.is_relocalizing,
            memory=reconstruction.status(),
            network_seconds=reconstruction.network_seconds,
        )
