"""Every parameter of the system, once: type, default, unit, range and meaning.

The ROS parameter descriptors, ``config/spann3r.yaml`` and ``docs/parameters.md`` are generated from these dataclasses.
Nested names are joined by dots: ``map.voxel_size``. A family of networks brings a group of its own.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

from spann3r_ros.errors import ConfigError
from spann3r_ros.frame import frame_name

T = TypeVar("T")
C = TypeVar("C", bound="Config")

DEMO_WEIGHTS = "demo weights"
"""How ``Model.weights`` begins for the model that ships: it knows one synthetic apartment and nothing else."""

RANDOM_WEIGHTS = "random"
"""Value of ``checkpoint`` for a tiny network of the family with random weights."""

SIMULATED = "simulated"
"""Value of ``model`` for no network: a recording is answered from its own truth, with errors."""

WEIGHTS_NOTES = {
    DEMO_WEIGHTS: "the model that ships knows one synthetic apartment and nothing else: elsewhere its map is wrong",
    f"{RANDOM_WEIGHTS} weights": "a tiny network that was never trained; its map means nothing",
    f"{SIMULATED} network": "no network, but the recording's own truth with errors; no figure is one of a network",
}
"""What is wrong with weights that are no file of weights, by their short name."""

FRAMES = ("world_frame", "odom_frame", "base_frame")
"""Parameters that name a coordinate frame, with or without the leading slash of tf1."""

RENAMED_VALUES = {("cloud", "organised"): "organized"}
"""Values that are called something else now."""


@dataclass(frozen=True)
class Parameter:
    """What is known of one parameter besides its value.

    Attributes:
        name: dotted name.
        kind: bool, int, float, str or list (of str).
        default: its default value.
        help: what it does, one or two sentences.
        unit: unit of the value, empty when it has none.
        low, high: inclusive range of a number, or None where unbounded.
        choices: the allowed values, or empty when free.
        form: what the allowed values look like, where neither range nor choices tell.
        accepts: whether a value is of that form.
        live: whether it can change while the node runs.
    """

    name: str
    kind: type
    default: Any
    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    form: str = ""
    accepts: Callable[[Any], bool] | None = None
    live: bool = False

    def range_text(self) -> str:
        """The allowed values, for people."""
        if self.choices:
            return " | ".join(str(choice) for choice in self.choices)
        if self.form:
            return self.form
        if self.low is None and self.high is None:
            return ""
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"{low} .. {high}"

    def check(self, value: Any) -> Any:
        """The value, converted losslessly to ``kind``; a frame's name without its leading slash.

        Raises:
            ConfigError: another type, or a value out of range.
        """
        expected = " ".join(filter(None, [self.kind.__name__, self.range_text(), self.unit]))
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) < 1 << 1023 else math.inf
        if isinstance(value, str) and (self.name, value) in RENAMED_VALUES:
            raise ConfigError(
                f"parameter '{self.name}'",
                got=repr(value),
                expected=expected,
                next_step=f"It is called '{RENAMED_VALUES[self.name, value]}' now",
            )
        if self.kind is list and isinstance(value, tuple):
            value = list(value)
        wrong_type = type(value) is not self.kind
        if self.kind is list and not wrong_type:
            wrong_type = not all(isinstance(item, str) for item in value)
        wrong_value = not wrong_type and (
            (bool(self.choices) and value not in self.choices)
            or (self.accepts is not None and not self.accepts(value))
            or (isinstance(value, float) and not math.isfinite(value))
            or (self.low is not None and value < self.low)
            or (self.high is not None and value > self.high)
        )
        if wrong_type or wrong_value:
            raise ConfigError(f"parameter '{self.name}'", got=repr(value), expected=expected, next_step=self.help)
        return frame_name(value) if self.name in FRAMES else value


def parameter(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] = (),
    form: str = "",
    accepts: Callable[[Any], bool] | None = None,
    live: bool = False,
) -> Any:
    """A dataclass field that carries its description."""
    metadata = {
        **{"help": help, "unit": unit, "low": low, "high": high, "choices": choices},
        **{"form": form, "accepts": accepts, "live": live},
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class ModelConfig:
    """Which network runs, on what, and how its answers are given."""

    model: str = parameter("spann3r", "Family of the network; `python -m spann3r_ros models list` shows them.")
    checkpoint: str = parameter(
        "",
        "File with the weights (.pth or .safetensors). Empty: the small model that ships. random: a tiny network of "
        "the family with random weights, to try everything but the map, which then means nothing.",
    )
    checkpoint_mapping: bool = parameter(
        False,
        "false: the weights are copied into memory (2.6 GB for Spann3R in fp32; on CUDA none of the CPU's). "
        "true: in fp32 on the CPU they stay mapped from their file, and the system may drop and re-read them; but "
        "overwriting the file changes them, and truncating it kills the process.",
    )
    device: str = parameter(
        "auto", "Where the network runs; auto takes CUDA when there is one.", choices=("auto", "cpu", "cuda")
    )
    precision: str = parameter(
        "fp32",
        "Arithmetic of the trunk; pointmap heads and poses are always fp32. auto: bf16 where a layer is faster in it, "
        "which is timed at the start, else fp32.",
        choices=("fp32", "bf16", "fp16", "auto"),
    )
    cuda_graphs: bool = parameter(
        False,
        "On CUDA, record the network's work once for each image size and replay it, instead of launching thousands of "
        "kernels for every frame: several times faster where the CPU is the limit, for some memory more.",
    )
    output: str = parameter(
        "refined",
        "refined: final pointmaps, one frame late; immediate: no delay, less accurate; both: each frame twice.",
        choices=("refined", "immediate", "both"),
    )
    image_width: int = parameter(
        0,
        "Width that images are resized and cropped to, a multiple of the patch. 0: what the weights were made for.",
        unit="px",
        low=0,
        high=4096,
    )
    image_height: int = parameter(0, "Height likewise.", unit="px", low=0, high=4096)

    @property
    def weights_note(self) -> str:
        """A key of ``WEIGHTS_NOTES``, or nothing for a file of weights."""
        if self.model == SIMULATED:
            return f"{SIMULATED} network"
        if self.checkpoint == RANDOM_WEIGHTS:
            return f"{RANDOM_WEIGHTS} weights"
        return "" if self.checkpoint else DEMO_WEIGHTS


def is_value_range(text: str) -> bool:
    """Whether a text is one for ``ImageConfig.range``."""
    numbers = re.fullmatch(r"(\d{1,5})\.\.(\d{1,5})", text)
    return text in ("full", "auto") or (numbers is not None and int(numbers[1]) < int(numbers[2]) <= 65535)


@dataclass
class ImageConfig:
    """Which images are taken, and what becomes of their values."""

    max_pixels: int = parameter(
        50_000_000,
        "Images with more pixels, by what they say of themselves, are refused before memory is taken for them.",
        unit="pixels",
        low=1024,
        high=1_000_000_000,
        live=True,
    )
    range: str = parameter(
        "auto",
        "Values of 16-bit images that become 0..255. full: 0..65535; auto: the same, but what an image holds when it "
        "leaves the uppermost bit unused, as thermal cameras and sensors of 10 to 14 bits do; LOW..HIGH: these.",
        form="full | auto | LOW..HIGH with 0 <= LOW < HIGH <= 65535",
        accepts=is_value_range,
        live=True,
    )


@dataclass
class MapConfig:
    """The accumulated map and what may enter it."""

    min_confidence: float = parameter(
        0.3, "Points below this confidence stay out of clouds and map.", low=0.0, high=1.0, live=True
    )
    voxel_size: float = parameter(
        0.02,
        "Side of a map voxel, in the unit of the map (meters when the model is metric).",
        unit="map units",
        low=1e-4,
        high=100.0,
        live=True,
    )
    max_range: float = parameter(
        0.0,
        "Points farther than this from their camera stay out of the map; 0: no limit.",
        unit="map units",
        low=0.0,
        high=1e6,
        live=True,
    )
    max_points: int = parameter(
        1_000_000,
        "Most points in the map; beyond it voxels grow (map.coarsening), then the points seen longest ago make room.",
        unit="points",
        low=1000,
        high=50_000_000,
    )
    coarsening: float = parameter(
        4.0,
        "When the map is full its voxels grow, up to so many times voxel_size, before points are forgotten; 1: never.",
        low=1.0,
        high=100.0,
        live=True,
    )

    min_observations: int = parameter(
        4,
        "Frames that must agree on a voxel of a published or saved map; in a place that was seen less often half as "
        "many as agree on its best voxel, so that a new one is there at once. 1: every voxel is.",
        unit="frames",
        low=1,
        high=1000,
        live=True,
    )
    max_slant: float = parameter(
        80.0,
        "Points whose surface is seen at more than this angle from its normal stay out of the map: at the edges of "
        "objects they fly between two surfaces. 90: none does.",
        unit="deg",
        low=10.0,
        high=90.0,
        live=True,
    )
    clear_margin: float = parameter(
        0.15,
        "A voxel that lies in front of what a later frame sees by more than this share of the depth loses one of the "
        "frames that agree on it, with the last of them it is cleared. 0: never.",
        low=0.0,
        high=1.0,
        live=True,
    )


@dataclass
class SubmapConfig:
    """When the network's memory begins anew, as a new part of the map that is joined to the one before."""

    frames: int = parameter(
        0,
        "Frames of a submap; with the next one the memory begins anew. 0: one memory for the whole run.",
        unit="frames",
        low=0,
        high=1_000_000,
    )
    overlap: int = parameter(
        4,
        "Frames that a new submap shares with the one before, which say how the two lie to each other; "
        "fewer than submap.frames.",
        unit="frames",
        low=0,
        high=64,
    )
    lost_confidence: float = parameter(
        0.0,
        "After five answers in a row of a lower mean confidence the memory begins anew before submap.frames are full; "
        "0: never.",
        low=0.0,
        high=1.0,
    )


@dataclass
class LoopsConfig:
    """Whether places that are seen again are recognized, so that the submaps between are corrected."""

    enabled: bool = parameter(
        False,
        "Look for places that a submap before has seen, and correct all submaps in between. Needs submaps "
        "(submap.frames, or a model that opens them) and GTSAM (the extra `mapping`). ~/close_loops changes it, too.",
        live=True,
    )
    descriptor: str = parameter(
        "",
        "File with the weights of a descriptor of places (SALAD) that recognizes them. Empty: the mean of the tokens "
        "of the model's own encoder, where it gives them.",
    )
    similarity: float = parameter(
        0.0,
        "Inner product of the descriptors of two frames from which on they are looked at. 0: 0.95 for the tokens of "
        "the model's own encoder, 0.85 for SALAD.",
        low=0.0,
        high=1.0,
        live=True,
    )
    min_gap: int = parameter(
        30,
        "Frames that are nearer to each other than this in time are no loop.",
        unit="frames",
        low=1,
        high=1_000_000,
        live=True,
    )
    min_overlap: float = parameter(
        0.3,
        "Share of the points of one end of a loop that must fall into the views of the other.",
        low=0.0,
        high=1.0,
        live=True,
    )
    min_agreement: float = parameter(
        0.5,
        "Of those, the share that must lie as deep as these views saw (within 10 %), in both directions.",
        low=0.0,
        high=1.0,
        live=True,
    )
    min_confidence: float = parameter(
        0.3, "How sure the model must be of how the two ends lie to each other.", low=0.0, high=1.0, live=True
    )
    max_scale: float = parameter(
        2.0,
        "A loop that changes the scale between two joined submaps by a larger factor is rejected.",
        low=1.0,
        high=100.0,
        live=True,
    )
    keyframes: int = parameter(
        8, "Most frames of a submap that are remembered for loops.", unit="frames", low=1, high=1000
    )
    max_memory: int = parameter(
        512, "Most memory that they take; beyond it fewer of each submap are kept.", unit="MB", low=1, high=1_000_000
    )


@dataclass
class PoseConfig:
    """How camera poses are recovered from pointmaps."""

    use_camera_info: bool = parameter(
        True, "Use the calibration of CameraInfo when there is one; otherwise the focal length is estimated."
    )
    samples: int = parameter(800, "Confident pixels given to PnP.", unit="points", low=16, high=1_000_000, live=True)
    reprojection_error: float = parameter(
        8.0,
        "How far a point may lie from its pixel and still agree with a pose.",
        unit="px",
        low=0.1,
        high=100.0,
        live=True,
    )
    min_inliers: float = parameter(
        0.3, "Share of the samples that must agree, else the pose is unknown.", low=0.0, high=1.0, live=True
    )
    motion_prior: bool = parameter(
        True,
        "Poses by PnP are refined with the motion before them, as far as the motion is smoother than they are. "
        "false: each is what its own image tells.",
        live=True,
    )


@dataclass
class TrackingConfig:
    """Which images the network is shown, and which of its answers are believed."""

    enabled: bool = parameter(
        True,
        "Judge images and answers: what shows nothing is not given to the network, and what does not fit is neither in "
        "the map nor on a topic. false: everything is.",
    )
    min_contrast: float = parameter(
        12.0,
        "An image whose 5th and 95th percentile lie closer together shows nothing (black, blinded or covered camera).",
        unit="gray levels",
        low=0.0,
        high=255.0,
        live=True,
    )
    max_white: float = parameter(
        0.5,
        "An image of which a larger share is white (250 or more of 255 gray levels) is overexposed and not used.",
        low=0.0,
        high=1.0,
        live=True,
    )
    min_detail: float = parameter(
        0.8,
        "An image that changes less than this from pixel to pixel shows nothing (blurred or covered camera); "
        "measured on a copy of 160 pixels.",
        unit="gray levels",
        low=0.0,
        high=255.0,
        live=True,
    )
    min_agreement: float = parameter(
        0.55,
        "Share of an answer's points that must lie as deep as one of the last images of that camera saw them (within "
        "15 %).",
        low=0.0,
        high=1.0,
        live=True,
    )
    first_frames: int = parameter(
        3,
        "So many answers must agree before the world has begun; until then one that does not fit makes it begin anew. "
        "0: the first image begins it for good.",
        unit="frames",
        low=0,
        high=100,
    )


@dataclass
class ScaleConfig:
    """What makes the unit of the map the meter."""

    source: str = parameter(
        "auto",
        "What makes the map metric. auto: the first of depth, baseline, odometry and model that is known well enough; "
        "model: a network that speaks in meters; odometry: the robot's own path; depth: measured depth images; "
        "baseline: two cameras whose distance TF knows; constant: scale.constant, whatever the others say.",
        choices=("auto", "model", "odometry", "depth", "baseline", "constant"),
    )
    max_deviation: float = parameter(
        0.03,
        "The map is called metric once the relative standard deviation of its scale is below this.",
        low=0.001,
        high=0.5,
        live=True,
    )
    constant: float = parameter(
        1.0, "Meters of one unit of the network, with scale.source constant.", unit="m", low=1e-6, high=1e6
    )


@dataclass
class RelocalizationConfig:
    """How the camera is found in a map that was loaded."""

    relocalizer: str = parameter(
        "none",
        "none: a loaded map continues where it was saved, so the camera must be there. retrieval: the camera may be "
        "anywhere in it; keyframes are kept and saved, those that look like the new images are candidates, and the "
        "model and the geometry verify them. posenet: the same, with candidates by the network of "
        "relocalizer_checkpoint.",
        choices=("none", "retrieval", "posenet"),
    )
    relocalizer_checkpoint: str = parameter(
        "", "File with the weights of a relocalizer that was trained in the world of the map, for `posenet`."
    )


@dataclass
class Config(RelocalizationConfig, ModelConfig):
    """All parameters of a reconstruction; NodeConfig adds those of the ROS node.

    Attributes:
        groups: parameters that belong to a family of networks, by the name of their group; see ``of``.
    """

    groups: dict[str, object] = field(default_factory=dict)
    image: ImageConfig = field(default_factory=ImageConfig)
    map: MapConfig = field(default_factory=MapConfig)
    submap: SubmapConfig = field(default_factory=SubmapConfig)
    loops: LoopsConfig = field(default_factory=LoopsConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)

    def of(self, kind: type[T]) -> T:
        """The parameters of a family's own group, with their defaults when nobody set them.

        Args:
            kind: a dataclass of parameters whose ``GROUP`` names it.
        """
        found = self.groups.setdefault(group_name(kind), kind())
        assert isinstance(found, kind), f"two groups of parameters are called {group_name(kind)}"
        return found


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


def group_name(kind: type) -> str:
    """What the names of a family's own parameters begin with."""
    name: str = vars(kind)["GROUP"]
    return name


def parameters(config_type: type, groups: Sequence[type] = (), prefix: str = "") -> Iterator[Parameter]:
    """Every parameter of a configuration class, depth first, in the order of definition.

    Args:
        config_type: the class.
        groups: families' own parameters, which a ``Config`` holds in ``groups``.
        prefix: what the names begin with.
    """
    hints = get_type_hints(config_type)
    for entry in dataclasses.fields(config_type):
        kind = hints[entry.name]
        name = prefix + entry.name
        if entry.name == "groups":
            for group in groups:
                yield from parameters(group, prefix=group_name(group) + ".")
            continue
        if dataclasses.is_dataclass(kind):
            assert isinstance(kind, type)
            yield from parameters(kind, prefix=name + ".")
            continue
        default = entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
        yield Parameter(name, getattr(kind, "__origin__", kind), default, **entry.metadata)


def from_mapping(config_type: type[C], values: Mapping[str, Any], groups: Sequence[type] = ()) -> C:
    """A configuration from dotted names; what is not named keeps its default.

    Raises:
        ConfigError: an unknown name (the nearest known ones are listed), a wrong type, or a value out of range.
    """
    known = {entry.name: entry for entry in parameters(config_type, groups)}
    config = config_type()
    for group in groups:
        config.of(group)
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            raise ConfigError(
                "unknown parameter",
                got=name,
                expected="one of " + ", ".join(near) if near else "a name of docs/parameters.md",
            )
        assign(config, name, known[name].check(value))
    return config


def to_mapping(config: Config) -> dict[str, Any]:
    """Dotted names and values of a configuration."""
    groups = [type(group) for group in config.groups.values()]
    return {entry.name: getattr(*_place(config, entry.name)) for entry in parameters(type(config), groups)}


def assign(config: Config, name: str, value: Any) -> None:
    """Set one parameter by its dotted name; the value is not checked."""
    setattr(*_place(config, name), value)


def _place(config: Config, name: str) -> tuple[Any, str]:
    """The object that holds a parameter, and the parameter's name there."""
    group, dot, leaf = name.rpartition(".")
    if not dot:
        return config, leaf
    return config.groups.get(group) or getattr(config, group), leaf
