"""An image topic as the graph shows it: its type, what its publishers offer, and why it may be silent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from spann3r_ros.ros.qos import image_reliability

RAW = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


@dataclass(frozen=True)
class ImageTopic:
    """How to subscribe to a camera.

    Attributes:
        name: fully qualified topic.
        compressed: CompressedImage instead of Image.
        reliability: to ask for.
    """

    name: str
    compressed: bool
    reliability: ReliabilityPolicy

    @property
    def type(self) -> str:
        """The ROS type of its messages."""
        return COMPRESSED if self.compressed else RAW


def candidates(node: Node, topic: str, transport: str) -> list[tuple[str, bool]]:
    """Topics where the images of ``topic`` may be, best first, each with whether they are compressed there."""
    name = node.resolve_topic_name(topic)
    below = name if name.endswith("/compressed") else name + "/compressed"
    if transport == "raw":
        return [(name, False)]
    if transport == "compressed":
        return [(below, True)]
    return list(dict.fromkeys([(name, False), (name, True), (below, True)]))


def find(node: Node, topic: str, transport: str, reliability: str) -> ImageTopic | None:
    """How to subscribe to ``topic`` as parameters ``image_transport`` and ``image_qos`` say; None: not known yet."""
    places = candidates(node, topic, transport)
    for name, compressed in places:
        wanted = COMPRESSED if compressed else RAW
        found = publishers(node, name, wanted)
        if found:
            return ImageTopic(name, compressed, image_reliability(reliability, found))
    if transport != "auto" and reliability != "auto":  # nothing to find out
        name, compressed = places[0]
        return ImageTopic(name, compressed, image_reliability(reliability, []))
    return None


def publishers(node: Node, topic: str, message_type: str) -> list[TopicEndpointInfo]:
    """Who publishes messages of a type on a topic."""
    return [each for each in node.get_publishers_info_by_topic(topic) if each.topic_type == message_type]


def explain_silence(node: Node, topic: str, transport: str, subscribed: ImageTopic | None) -> str:
    """Why no image of ``topic`` arrives, as far as the graph tells, and the likely fix."""
    names = list(dict.fromkeys(name for name, _ in candidates(node, topic, transport)))
    seen_publishers = [(name, publisher) for name in names for publisher in node.get_publishers_info_by_topic(name)]
    if not seen_publishers:
        return f"nobody publishes {' or '.join(names)}. {_suggestion(node, names)}"
    seen = "; ".join(f"{name} by {describe(publisher)}" for name, publisher in seen_publishers)
    types = {publisher.topic_type for _, publisher in seen_publishers}
    if not types & {RAW, COMPRESSED}:
        return f"published: {seen}, which is no image type ({RAW}, {COMPRESSED}). {_suggestion(node, names)}"
    if subscribed is None:
        return f"published: {seen}, but image_transport is '{transport}'. Set image_transport to auto"
    ours = [p for name, p in seen_publishers if name == subscribed.name and p.topic_type == subscribed.type]
    if not ours:
        return f"subscribed to {subscribed.type}, but published is {seen}. Set image_transport to auto"
    lossy = [p for p in ours if p.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT]
    if lossy and subscribed.reliability == ReliabilityPolicy.RELIABLE:
        return f"published: {seen}, but reliable was asked for, which they do not offer. Set image_qos to auto"
    if subscribed.reliability == ReliabilityPolicy.BEST_EFFORT:
        return (
            f"published: {seen}. Best effort silently loses images larger than the transport's shared memory "
            "(512 KB by default): let the driver publish reliable, use its compressed topic, or give Fast DDS more "
            "memory: set FASTDDS_DEFAULT_PROFILES_FILE (Humble and Jazzy: FASTRTPS_DEFAULT_PROFILES_FILE) "
            "to <this package>/config/fastdds.xml on both sides"
        )
    return (
        f"published: {seen}; types and QoS match. Is the camera or the bag paused, or can its data not reach this "
        "machine (ROS_DOMAIN_ID, discovery range, firewall)?"
    )


def describe(publisher: TopicEndpointInfo) -> str:
    """Who publishes what and how, for people."""
    namespace = publisher.node_namespace.rstrip("/")
    reliability = publisher.qos_profile.reliability.name.lower()
    return f"{namespace}/{publisher.node_name} ({publisher.topic_type}, {reliability})"


def describe_all(publishers: Iterable[TopicEndpointInfo]) -> str:
    """Each of them, in one order whatever the graph gives."""
    return "; ".join(sorted(describe(publisher) for publisher in publishers))


def _suggestion(node: Node, names: list[str]) -> str:
    this = (node.get_name(), node.get_namespace())
    images = [
        f"{name} ({', '.join(types)})"
        for name, types in node.get_topic_names_and_types()
        if {RAW, COMPRESSED} & set(types)
        and name not in names
        and any((p.node_name, p.node_namespace) != this for p in node.get_publishers_info_by_topic(name))
    ]
    if images:
        return f"Image topics on the graph: {', '.join(images)}. Set image_topics, or remap"
    return "No image topic is on the graph: start the camera or the bag, and check ROS_DOMAIN_ID"
