"""``/diagnostics``: what is wrong, for the tools that watch a whole robot."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from spann3r_ros.config import NodeConfig
from spann3r_ros.ros.session import Session
from spann3r_ros.ros.status import DEMO_WARNING, state, weights_note


def diagnostics_message(
    node: Node, config: NodeConfig, session: Session | None, problem: str, silent: dict[str, str]
) -> DiagnosticArray:
    """One status for the reconstruction and one per camera.

    Args:
        node, config, session: of the node.
        problem: why the last configure failed, or empty.
        silent: why a camera is silent, by its name.
    """
    name = node.get_fully_qualified_name().lstrip("/")
    message = DiagnosticArray(status=[_reconstruction(name, config, session, problem)])
    message.header.stamp = node.get_clock().now().to_msg()
    for camera in session.cameras if session else ():
        counts = camera.counts
        if camera.name in silent:
            level, text = DiagnosticStatus.ERROR, silent[camera.name]
        elif camera.complaint:
            level, text = DiagnosticStatus.WARN, camera.complaint
        else:
            level, text = DiagnosticStatus.OK, "images arrive" if counts.received else "waiting for images"
        values = {
            "topic": camera.subscribed.name if camera.subscribed else camera.topic,
            "type": camera.subscribed.type if camera.subscribed else "not found yet",
            "reliability": camera.subscribed.reliability.name.lower() if camera.subscribed else "",
            "calibration": camera.calibration.state,
            "rate [Hz]": f"{camera.rate:.2f}",
            "received": counts.received,
            "skipped": counts.skipped,
            "refused": counts.refused,
        }
        message.status.append(_status(f"{name}: camera {camera.name}", camera.name, level, text, values))
    return message


def _reconstruction(name: str, config: NodeConfig, session: Session | None, problem: str) -> DiagnosticStatus:
    title, values = f"{name}: reconstruction", {"state": state(session), "model": config.model}
    if session is None:
        level = DiagnosticStatus.ERROR if problem else DiagnosticStatus.STALE
        return _status(title, config.device, level, problem or "not configured", values)
    work, snapshot = session.worker.statistics(), session.snapshot
    values |= {
        "weights": session.weights,
        "rate [Hz]": f"{work.rate:.2f}",
        "latency [s]": f"{work.latency:.3f}",
        "processed": str(work.processed),
        "dropped": str(work.dropped),
        "failed": str(work.failed),
        "points": str(snapshot.points),
        "memory tokens": f"{snapshot.memory.tokens} of {snapshot.memory.capacity}",
        "metric": str(snapshot.metric).lower(),
    }
    level, text = DiagnosticStatus.OK, state(session)
    warning = session.last_error or session.world.problem or (DEMO_WARNING if weights_note(config) else "")
    if warning:
        level, text = DiagnosticStatus.WARN, warning
    return _status(title, session.device, level, text, values)


def _status(name: str, hardware: str, level: bytes, text: str, values: Mapping[str, object]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, hardware_id=hardware, values=pairs)
