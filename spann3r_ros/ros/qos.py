"""Qualities of service: what we offer, and what we ask of image publishers."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

# Functions, not constants: qos_overrides change a profile in place.


def live(depth: int = 10) -> QoSProfile:
    """Clouds, poses, images, status. Reliable, since best effort loses what exceeds the transport's shared memory."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.RELIABLE)


def latched(depth: int = 1) -> QoSProfile:
    """Map and path: whoever comes late gets the last one."""
    profile = live(depth)
    profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return profile


def requests() -> QoSProfile:
    """Services. A request beyond the depth is lost without a word: deep enough for whatever a robot's tools ask."""
    return live(1000)


TF_DEPTH = 100
"""Of /tf (live) and /tf_static (latched), as tf2 has it."""


def camera_info() -> QoSProfile:
    """Best effort: small enough never to be lost, and compatible with whatever the driver offers."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


def image_reliability(setting: str, publishers: Sequence[TopicEndpointInfo]) -> ReliabilityPolicy:
    """What to ask of the publishers of an image topic.

    Args:
        setting: parameter ``image_qos``; ``auto`` is reliable when every publisher offers that, else best effort,
            which is compatible with both but loses large images.
        publishers: those on the graph; none counts as reliable.
    """
    if setting == "auto":
        lossy = any(publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for publisher in publishers)
        setting = "best_effort" if lossy else "reliable"
    return ReliabilityPolicy.RELIABLE if setting == "reliable" else ReliabilityPolicy.BEST_EFFORT


def image_profile(reliability: ReliabilityPolicy, depth: int) -> QoSProfile:
    """Profile of an image subscription; volatile, so that it fits every publisher's durability."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability)


def overriding(node: Node, topic: str) -> QoSOverridingOptions:
    """Which policies of an image subscription ``qos_overrides`` parameters may change.

    Reliability takes part only where the user overrides it: the parameter that declaring it would leave behind is
    read-only and would freeze what ``auto`` found first.
    """
    kinds = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH]
    name = f"qos_overrides.{node.resolve_topic_name(topic)}.subscription.reliability"
    if name in getattr(node, "_parameter_overrides", {}):
        kinds.append(QoSPolicyKind.RELIABILITY)
    return QoSOverridingOptions(policy_kinds=kinds)
