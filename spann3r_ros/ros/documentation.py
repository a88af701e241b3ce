"""The tables of docs/topics.md, from the rows that the node itself is made from, and from the .msg and .srv files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from spann3r_ros.errors import DataError
from spann3r_ros.ros import qos
from spann3r_ros.ros.outputs import OUTPUTS
from spann3r_ros.ros.services import SERVICES, Service

FILE = Path("docs/topics.md")
RENEW = "python -m spann3r_ros parameters --write ."
INTERFACES = ("msg/ReconstructionStatus.msg", "msg/MemoryStatus.msg", "srv/SaveMap.srv", "srv/LoadMap.srv")


@dataclass(frozen=True)
class Input:
    """A topic that the node listens to; ``qos`` is None where it asks what the publishers offer."""

    topic: str
    type: type[Any]
    qos: QoSProfile | None
    meaning: str


INPUTS = (
    Input(
        "camera/image_raw",
        Image,
        None,
        "images of a camera; one topic per camera in `image_topics`, all feed one memory",
    ),
    Input(
        "camera/image_raw/compressed",
        CompressedImage,
        None,
        "instead, when only this one is published (`image_transport`)",
    ),
    Input(
        "camera/camera_info",
        CameraInfo,
        qos.camera_info(),
        "optional calibration beside each image topic (`camera_info_topics`); `K = 0` means uncalibrated",
    ),
    Input(
        "camera/depth_registered/image_raw",
        Image,
        None,
        "optional measured depth of a camera (`depth_topics`), for the scale of the map and a model that takes it "
        "(`pi3x`)",
    ),
    Input(
        "odometry",
        Odometry,
        None,
        "optional odometry of the robot (`odometry_topic`), or a `geometry_msgs/msg/PoseStamped`: for the scale and "
        "the place of the map",
    ),
    Input("/tf", TFMessage, qos.live(qos.TF_DEPTH), "the robot's own frames"),
    Input("/tf_static", TFMessage, qos.latched(qos.TF_DEPTH), "likewise"),
)

OF_THE_LIFECYCLE = (
    Service("~/change_state", ChangeState, "configure, activate, deactivate, cleanup; by itself with `autostart`"),
    Service("~/get_state", GetState, "where in its life the node is"),
)


def renewed(text: str, root: Path) -> str:
    """docs/topics.md with its generated parts made anew; what people wrote around them stays.

    Args:
        text: its content. A part lies between ``<!-- generated: NAME`` and ``<!-- end: NAME -->``.
        root: the package's folder, with msg/ and srv/.

    Raises:
        DataError: a part that the file lacks.
    """
    parts = {
        "subscribed": inputs_table(),
        "published": outputs_table(),
        "services": services_table(),
        "interfaces": "\n\n".join(interface_text(root / name) for name in INTERFACES),
    }
    for name, content in parts.items():
        begin, end = f"<!-- generated: {name} (`{RENEW}`) -->", f"<!-- end: {name} -->"
        found = re.search(rf"<!-- generated: {name} .*?-->\n.*?{re.escape(end)}", text, re.DOTALL)
        if found is None:
            raise DataError(f"{FILE} has no place for the part '{name}'", expected=f"{begin} and {end}")
        text = f"{text[: found.start()]}{begin}\n\n{content}\n\n{end}{text[found.end() :]}"
    return text


def inputs_table() -> str:
    """What the node subscribes to."""
    rows = ((f"`{row.topic}`", f"`{type_name(row.type)}`", qos_text(row.qos), row.meaning) for row in INPUTS)
    return table(("topic", "type", "QoS", "meaning"), rows)


def outputs_table() -> str:
    """What the node publishes."""
    rows = (
        (f"`{row.topic}`", f"`{type_name(row.type)}`", qos_text(row.qos()), row.frame, row.meaning) for row in OUTPUTS
    )
    return table(("topic", "type", "QoS", "frame", "meaning"), rows)


def services_table() -> str:
    """What the node can be asked for."""
    services = (*SERVICES, *OF_THE_LIFECYCLE)
    rows = ((f"`{row.name}`", f"`{type_name(row.type)}`", row.meaning) for row in services)
    return table(("service", "type", "meaning"), rows)


def interface_text(path: Path) -> str:
    """A heading, what the interface is for, and its fields."""
    lines = path.read_text(encoding="utf-8").splitlines()
    purpose = []
    while lines and lines[0].startswith("#"):
        purpose.append(lines.pop(0).lstrip("# "))
    heads = ("request", "answer") if path.suffix == ".srv" else ("field",)
    parts = [f"### {path.stem}", " ".join(purpose)]
    for head, block in zip(heads, "\n".join(lines).split("---\n"), strict=True):
        parts.append(table((head, "type", "meaning"), fields(block.splitlines())))
    return "\n\n".join(parts)


def fields(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """Name, type and meaning of each field of an interface file; lines that are comments only are left out."""
    for line in lines:
        declaration, _, comment = line.partition("#")
        if declaration.strip():
            kind, name = declaration.split()
            yield f"`{name}`", f"`{kind}`", comment.strip()


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def type_name(kind: type[Any]) -> str:
    """A type as ROS writes it: ``sensor_msgs/msg/Image``."""
    package, part, *_ = kind.__module__.split(".")
    return f"{package}/{part}/{kind.__name__}"


def qos_text(profile: QoSProfile | None) -> str:
    """Reliability and, where it is not the usual, durability; None: whatever is offered."""
    if profile is None:
        return "as its publishers offer"
    text = "reliable" if profile.reliability == ReliabilityPolicy.RELIABLE else "best effort"
    return text + (", transient local" if profile.durability == DurabilityPolicy.TRANSIENT_LOCAL else "")
