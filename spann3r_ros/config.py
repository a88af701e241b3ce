"""Every parameter of a reconstruction, once: type, default, unit, range and meaning.

The ROS parameter descriptors, ``config/spann3r.yaml`` and ``docs/parameters.md`` are generated from these dataclasses.
Nested names are joined by dots: ``map.voxel_size``. A family of networks brings a group of its own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from spann3r_ros.errors import ConfigError
from spann3r_ros.parameter import group_name, parameter, parameters

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


@dataclass
class ModelConfig:
    """Which network runs, on what, and how its answers are given."""

    model: str = parameter("spann3r", "Family of the network; `python -m spann3r_ros models list` shows them.")
    checkpoint: str = parameter(
        "",
        "File with the weights (.pth or .safetensors). Empty: the small model that ships. random: a tiny network of "
        "the family with random weights, to try everything but the map, which then means nothing. With backend "
        "onnxruntime: the folder that `python -m spann3r_ros export` wrote.",
    )
    backend: str = parameter(
        "torch",
        "What computes the network: PyTorch, or ONNX Runtime with the provider for TensorRT, CUDA or the CPU that it "
        "has, from a folder that `python -m spann3r_ros export` wrote.",
        choices=("torch", "onnxruntime"),
    )
    checkpoint_mapping: bool = parameter(
        False,
        "false: the weights are copied into memory (2.6 GB for Spann3R in fp32; on CUDA none of the CPU's). "
        "true: in fp32 on the CPU they stay mapped from their file, and the system may drop and re-read them; but "
        "overwriting the file changes them, truncating it kills the process, and the large layers are not packed, "
        "which makes them slower.",
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
    alignment: str = parameter(
        "robust",
        "How the pixels of shared frames tell how two submaps lie to each other. robust: up to half of them may be "
        "wrong, in whatever unit; irls: as VGGT-Long is published, residuals beyond a tenth of the network's unit "
        "count less.",
        choices=("robust", "irls"),
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
    min_likeness: float = parameter(
        0.5,
        "Correlation that the gray levels of these points must have with those that the last images saw there: noise, "
        "an image upside down or another place may seem to lie where they did. -1: not looked at.",
        low=-1.0,
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
    """All parameters of a reconstruction; ``NodeConfig`` adds those of the ROS node.

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
