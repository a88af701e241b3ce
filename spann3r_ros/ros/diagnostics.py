"""``/diagnostics``: what is wrong, for the tools that watch a whole robot."""

from __future__ import annotations

import time
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from spann3r_ros.complaints import Complaint, Complaints, Severity
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.ros.camera_input import CameraInput
from spann3r_ros.ros.session import Session
from spann3r_ros.ros.snapshots import SnapshotFigures
from spann3r_ros.ros.status import scale_age, state

LEVELS = {
    Severity.INFO: DiagnosticStatus.OK,
    Severity.WARNING: DiagnosticStatus.WARN,
    Severity.ERROR: DiagnosticStatus.ERROR,
}


def diagnostics_message(
    node: Node, config: NodeConfig, session: Session | None, complaints: Complaints
) -> DiagnosticArray:
    """One status for the reconstruction and one per camera, each with the worst complaint about it."""
    name = node.get_fully_qualified_name().lstrip("/")
    cameras = session.cameras if session else []
    own = {camera.complaints.subject for camera in cameras}
    worst = next((each for each in complaints.current() if each.subject not in own), None)
    message = DiagnosticArray(status=[_reconstruction(f"{name}: reconstruction", config, session, worst)])
    message.header.stamp = node.get_clock().now().to_msg()
    message.status += [_camera(f"{name}: camera {camera.name}", camera) for camera in cameras]
    return message


def _reconstruction(
    title: str, config: NodeConfig, session: Session | None, worst: Complaint | None
) -> DiagnosticStatus:
    values: dict[str, object] = {"state": state(session), "model": config.model}
    if session is None:
        return _status(title, config.device, worst, "not configured", values, idle=DiagnosticStatus.STALE)
    work, snapshot = session.worker.statistics(), session.snapshot
    values |= {
        "weights": session.weights,
        "rate [Hz]": f"{work.rate:.2f}",
        "latency [s]": f"{work.latency:.3f}",
        "response time [s]": f"{work.response_time:.3f}",
        "processed": work.processed,
        "dropped": work.dropped,
        "discarded": work.discarded,
        "failed": work.failed,
        "tracking": snapshot.tracking,
        "tracking reason": snapshot.tracking_reason,
        "lost": snapshot.lost_frames,
        "points": snapshot.points,
        "points forgotten": snapshot.points_forgotten,
        "points forgotten a frame": f"{snapshot.forgetting_rate:.1f}",
        "points refused": snapshot.points_refused,
        "points looked through and cleared": snapshot.points_cleared,
        "poses not broadcast": session.world.dropped,
        "memory tokens": f"{snapshot.memory.tokens} of {snapshot.memory.capacity}",
        "metric": str(snapshot.metric).lower(),
        "scale source": snapshot.scale_source,
        "scale value [m/unit]": f"{snapshot.scale.value:.5g}",
        "scale deviation": f"{snapshot.scale.deviation:.2g}",
        "scale age [s]": f"{scale_age(snapshot):.1f}",
        "scale note": snapshot.scale.note,
        "submaps": snapshot.submaps,
        "loops": snapshot.loops.closed,
        "loops rejected": snapshot.loops.rejected,
        "loops that wait for a second one": snapshot.loops.unchecked,
        "edges rejected": snapshot.loops.edges_rejected,
        "keyframes not looked for": snapshot.loops.skipped,
        "last correction": snapshot.last_correction,
        **_snapshots(session.snapshots.figures),
        **{f"memory {name}": f"{value:g}" for name, value in snapshot.memory.counters.items()},
    }
    if session.odometry is not None:
        odometry = session.odometry
        values |= {
            "odometry topic": odometry.topic,
            "odometry refused": odometry.refused,
        }
    return _status(title, session.device, worst, state(session), values)


def _snapshots(figures: SnapshotFigures) -> dict[str, object]:
    """Nothing while none was taken."""
    if not figures.written and not figures.failed:
        return {}
    return {
        "snapshot": figures.path,
        "snapshot age [s]": f"{time.monotonic() - figures.written_at:.1f}",
        "snapshots written": figures.written,
        "snapshots failed": figures.failed,
        "snapshot writing [s]": f"{figures.writing:.3f}",
        "snapshot held up the stream [s]": f"{figures.held_up:.4f}",
        "snapshot held up the stream at most [s]": f"{figures.longest:.4f}",
    }


def _camera(title: str, camera: CameraInput) -> DiagnosticStatus:
    counts, subscribed = camera.counts, camera.subscribed
    values: dict[str, object] = {
        "topic": subscribed.name if subscribed else camera.topic,
        "type": subscribed.type if subscribed else "not found yet",
        "reliability": subscribed.reliability.name.lower() if subscribed else "",
        "calibration": camera.calibration.state,
        "rate [Hz]": f"{camera.rate:.2f}",
        "received": counts.received,
        "skipped": counts.skipped,
        "late": counts.late,
        "refused": counts.refused,
    }
    if camera.depth is not None:
        values |= {
            "depth topic": camera.depth.topic,
            "with depth": camera.depth.found,
            "without depth": camera.depth.lacking,
        }
    text = "images arrive" if counts.received else "waiting for images"
    return _status(title, camera.name, camera.complaints.worst(), text, values)


def _status(
    name: str,
    hardware: str,
    worst: Complaint | None,
    otherwise: str,
    values: Mapping[str, object],
    idle: bytes = DiagnosticStatus.OK,
) -> DiagnosticStatus:
    """Level and text of the complaint, or ``idle`` and ``otherwise``."""
    level, text = (LEVELS[worst.severity], worst.text) if worst is not None else (idle, otherwise)
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, hardware_id=hardware, values=pairs)
