"""Every parameter of the ROS node that is not one of the reconstruction: topics, frames, timing."""

from __future__ import annotations

from dataclasses import dataclass

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError
from spann3r_ros.parameter import parameter


@dataclass
class NodeConfig(Config):
    """All parameters of the ROS node: those of the reconstruction and those of its topics, frames and timing."""

    autostart: bool = parameter(True, "Configure and activate by itself; false waits for lifecycle transitions.")
    image_topics: list[str] = parameter(  # noqa: RUF009
        ["camera/image_raw"],
        "Image topics, one per camera; all cameras feed one memory. Relative names are remappable.",
    )
    camera_names: list[str] = parameter(  # noqa: RUF009
        [],
        "A name per image topic, for messages, and the camera's frame when its images name none. "
        "Empty: taken from the topics.",
    )
    camera_info_topics: list[str] = parameter(  # noqa: RUF009
        [], "A CameraInfo topic per image topic. Empty: camera_info beside each image topic."
    )
    depth_topics: list[str] = parameter(  # noqa: RUF009
        [],
        "A depth topic per image topic (sensor_msgs/Image, 16UC1 in millimeters or 32FC1 in meters), registered to the "
        "image's camera, for the scale of the map (scale.source) and for a model that takes measured depth (pi3x); "
        "none for a camera without. Empty: no depth.",
    )
    odometry_topic: str = parameter(
        "",
        "The robot's own estimate of its path, for the scale and the place of the map: nav_msgs/Odometry about a frame "
        "from which TF leads to the camera, or geometry_msgs/PoseStamped of base_frame, or of the camera without one. "
        "Empty: TF from odom_frame to the camera, where odom_frame is set.",
    )
    depth_max_age: float = parameter(
        0.02,
        "Most time between the stamps of an image and of the depth that counts as its own; so long an image that the "
        "network is ready for also waits for its depth, while depth arrives.",
        unit="s",
        low=0.0,
        high=1.0,
        live=True,
    )
    image_transport: str = parameter(
        "auto",
        "raw: sensor_msgs/Image; compressed: CompressedImage on <topic>/compressed; auto: what is found on the graph.",
        choices=("auto", "raw", "compressed"),
    )
    image_qos: str = parameter(
        "auto",
        "Reliability of the image subscriptions; auto: as the publishers offer. "
        "Best effort silently loses images larger than the transport's shared memory.",
        choices=("auto", "reliable", "best_effort"),
    )
    queue_policy: str = parameter(
        "latest",
        "latest: a camera's newest image replaces the one that waits; all: every image in order, for recorded data.",
        choices=("latest", "all"),
    )
    queue_size: int = parameter(
        100,
        "Most images that wait under the policy `all`; those beyond are dropped.",
        unit="images",
        low=1,
        high=100000,
    )
    max_rate: float = parameter(
        0.0,
        "Most images per second taken from each camera, by their stamps; 0: all.",
        unit="Hz",
        low=0.0,
        high=1000.0,
        live=True,
    )
    min_motion: float = parameter(
        0.0,
        "An image that differs less than this from the last one taken of its camera is skipped "
        "(mean absolute difference of coarse gray images); 0: none is.",
        unit="gray levels",
        low=0.0,
        high=255.0,
        live=True,
    )
    stamp: str = parameter(
        "header",
        "When an image was taken: header, as its driver says; arrival, when it came, for drivers that stamp wrongly.",
        choices=("header", "arrival"),
    )
    clock_jump: str = parameter(
        "reset",
        "When time jumps back (a looped or restarted bag) and the next images confirm it: reset starts a new map, "
        "continue keeps map and memory.",
        choices=("reset", "continue"),
        live=True,
    )
    kept_maps: int = parameter(
        3,
        "Most maps that are kept on disk, beside the node's logs, before `clock_jump: reset` begins a new one; "
        "~/load_map brings one back. 0: none is.",
        unit="maps",
        low=0,
        high=1000,
        live=True,
    )
    snapshot_period: float = parameter(
        0.0,
        "How often memory, map and correctors are written to snapshot_folder while images are mapped, so that `resume` "
        "can go on after a crash; the newest two are kept. 0: never.",
        unit="s",
        low=0.0,
        high=86400.0,
        live=True,
    )
    snapshot_folder: str = parameter(
        "",
        "Folder of the snapshots; one node at a time writes there. Empty: beside the node's logs, under its name.",
    )
    resume: bool = parameter(
        False,
        "Begin with the newest whole snapshot of snapshot_folder, in the same world; without one a new world begins.",
    )
    silence_timeout: float = parameter(
        5.0, "Without images for so long, one warning says why; 0: never.", unit="s", low=0.0, high=3600.0, live=True
    )
    world_frame: str = parameter("map", "Frame of the map and of all poses: x forward, y left, z up.")
    odom_frame: str = parameter(
        "",
        "With base_frame set: publish world -> odom from the stamped odom -> camera transform (REP-105). "
        "Empty: publish world -> camera.",
    )
    base_frame: str = parameter("", "The robot's base; needs odom_frame. ~/odometry is then about it.")
    publish_tf: bool = parameter(
        True, "Broadcast the camera's (or the odometry's) place in the world frame.", live=True
    )
    tf_timeout: float = parameter(
        0.2, "How long a stamped transform of the robot is waited for.", unit="s", low=0.0, high=10.0, live=True
    )
    cloud: str = parameter(
        "filtered",
        "~/cloud: filtered, the confident points as a list; organized, one point per pixel, NaN if not confident; "
        "pointmap, one point per pixel, confident or not.",
        choices=("filtered", "organized", "pointmap"),
        live=True,
    )
    map_rate: float = parameter(
        1.0, "Most publications of ~/map and ~/path per second.", unit="Hz", low=0.01, high=30.0, live=True
    )
    status_rate: float = parameter(
        1.0, "Publications of ~/status and /diagnostics per second.", unit="Hz", low=0.01, high=30.0, live=True
    )
    path_length: int = parameter(
        10000, "Most poses in ~/path, the newest ones.", unit="poses", low=1, high=1_000_000, live=True
    )
    service_timeout: float = parameter(
        30.0, "Longest wait of ~/save_map and ~/load_map before they answer.", unit="s", low=0.1, high=3600.0, live=True
    )

    def check(self) -> None:
        """Raise ConfigError when parameters contradict each other."""
        cameras = len(self.image_topics)
        if not cameras:
            raise ConfigError("parameter 'image_topics'", got="[]", expected="at least one image topic")
        if len(set(self.image_topics)) < cameras:
            raise ConfigError("parameter 'image_topics'", got=self.image_topics, expected="each topic once")
        for name in ("camera_names", "camera_info_topics", "depth_topics"):
            values = getattr(self, name)
            if values and len(values) != cameras:
                raise ConfigError(
                    f"parameter '{name}'", got=values, expected=f"none, or one for each of the {cameras} image_topics"
                )
        if len(set(self.camera_names)) < len(self.camera_names):
            raise ConfigError("parameter 'camera_names'", got=self.camera_names, expected="different names")
        if bool(self.odom_frame) != bool(self.base_frame):
            raise ConfigError(
                "parameters 'odom_frame' and 'base_frame'",
                got=(self.odom_frame, self.base_frame),
                expected="both, or neither",
                next_step="With both, world -> odom is published; with neither, world -> camera",
            )
        if self.scale.source == "odometry" and not (self.odometry_topic or self.odom_frame):
            raise ConfigError(
                "parameter 'scale.source'",
                got="odometry, without any",
                expected="odometry_topic, or odom_frame and base_frame",
                next_step="Name the topic, or set scale.source to auto",
            )
        frames = [self.world_frame, *filter(None, (self.odom_frame, self.base_frame))]
        if not self.world_frame or len(set(frames)) < len(frames):
            raise ConfigError("world_frame, odom_frame, base_frame", got=frames, expected="different names, none empty")
