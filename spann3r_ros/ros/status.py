"""``~/status``: how the reconstruction is doing, in numbers."""

from __future__ import annotations

import math

from diagnostic_msgs.msg import KeyValue
from rclpy.node import Node

from spann3r_ros import memory_status
from spann3r_ros.complaints import Complaints
from spann3r_ros.msg import MemoryStatus, ReconstructionStatus
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.ros.conversions import time_message
from spann3r_ros.ros.reconstruction_snapshot import Snapshot
from spann3r_ros.ros.session import Session

GET_WEIGHTS = (
    "For real weights, `python -m spann3r_ros models list` shows their names and "
    "`python -m spann3r_ros models fetch NAME` downloads a file; then set the parameter `checkpoint` to it"
)


def state(session: Session | None) -> str:
    """What the node does now, in a word or three."""
    return "unconfigured" if session is None else session.state


def status_message(
    node: Node, config: NodeConfig, session: Session | None, complaints: Complaints
) -> ReconstructionStatus:
    """The present status; almost empty while the node is not configured."""
    message = ReconstructionStatus(
        model=config.model,
        weights_note=config.weights_note,
        state=state(session),
        device=config.device,
        precision=config.precision,
        world_frame=config.world_frame,
    )
    worst = complaints.worst()
    message.complaint = worst.text if worst is not None else ""
    message.header.stamp = node.get_clock().now().to_msg()
    message.header.frame_id = config.world_frame
    if session is None:
        return message
    work, snapshot, cameras = session.worker.statistics(), session.snapshot, session.cameras
    message.weights, message.device = session.weights, session.device
    message.frame_index = snapshot.frame_index
    message.last_image_stamp = time_message(max((camera.last_stamp for camera in cameras), default=0))
    message.last_output_stamp = time_message(snapshot.output_stamp)
    message.latency, message.response_time = work.latency, work.response_time
    message.inference_time = snapshot.network_seconds
    message.input_rate = float(sum(camera.rate for camera in cameras))
    message.output_rate = work.rate
    message.frames_received = sum(camera.counts.received for camera in cameras)
    message.frames_processed = work.processed
    message.frames_skipped = sum(camera.counts.skipped for camera in cameras)
    message.frames_late = sum(camera.counts.late for camera in cameras)
    message.frames_dropped, message.frames_discarded = work.dropped, work.discarded
    message.frames_failed = work.failed + sum(camera.counts.refused for camera in cameras)
    message.frames_lost = snapshot.lost_frames
    message.tracking, message.tracking_reason = snapshot.tracking, snapshot.tracking_reason
    message.queue_length = work.waiting
    message.voxel_size = snapshot.voxel_size
    message.points, message.posed_frames, message.submaps = snapshot.points, snapshot.posed_frames, snapshot.submaps
    message.loops, message.loops_rejected = snapshot.loops.closed, snapshot.loops.rejected
    message.last_correction = snapshot.last_correction
    message.points_forgotten, message.points_refused = snapshot.points_forgotten, snapshot.points_refused
    message.forgetting_rate = snapshot.forgetting_rate
    message.metric, message.scale_source = snapshot.metric, snapshot.scale_source
    message.memory = memory_message(snapshot.memory)
    scale = snapshot.scale
    message.scale_value, message.scale_deviation = float(scale.value), float(scale.deviation)
    message.scale_age, message.scale_note = scale_age(snapshot), scale.note
    return message


def scale_age(snapshot: Snapshot) -> float:
    """Seconds from the newest image that the scale of the map rests on to the last output; NaN without one."""
    stamp = snapshot.scale.stamp
    return max(0.0, (snapshot.output_stamp - stamp) / 1e9) if stamp else math.nan


def memory_message(status: memory_status.MemoryStatus) -> MemoryStatus:
    """The counters of a memory."""
    return MemoryStatus(
        tokens=int(status.tokens),
        capacity=int(status.capacity),
        bytes=int(status.bytes),
        offered=int(status.offered),
        inserted=int(status.inserted),
        rejected=int(status.rejected),
        counters=[KeyValue(key=name, value=f"{value:g}") for name, value in status.counters.items()],
    )
