"""Sizes of PoseNet: GoogLeNet and three pose regressors. The defaults are the authors' (ICCV 2015, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from spann3r_ros.errors import ConfigError

MOST_CHANNELS = 16384
"""Far more than any network of this kind has; what a damaged or hostile file says beyond that is not built."""

Widths: TypeAlias = tuple[int, int, int, int, int, int]
"""Channels of an inception module: 1x1; 3x3 reduction, 3x3; 5x5 reduction, 5x5; projection of the pool."""

MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
"""GoogLeNet's names of its inception modules, in their order."""

POOLS = ("ceil", "padded")
"""Pooling with stride 2. ceil: the last window hangs over (Caffe); padded: a border of one pixel (the port)."""

CHANNELS = ("bgr", "rgb")
"""Order of the colors that the first layer reads: bgr of the authors' weights, rgb of the port's."""

ROTATIONS = ("world_from_camera", "camera_from_world")
"""What the quaternion of the labels that the weights were trained on turns."""


@dataclass(frozen=True)
class PosenetArchitecture:
    """GoogLeNet without batch normalization, with regressors of the pose in place of its classifiers.

    Attributes:
        stem: channels of the three convolutions before the first inception module.
        inceptions: channels of the modules, see ``MODULES``.
        projection: channels of the 1x1 convolution of the two auxiliary regressors.
        auxiliary_hidden, hidden: width of the hidden layer of an auxiliary regressor, and of the last one.
        auxiliary: whether the auxiliary regressors, which only training needs, are there.
        pool: one of ``POOLS``.
        channels: one of ``CHANNELS``.
        unit_quaternion: whether the network itself divides the quaternion by its length, in training too.
        rotation: one of ``ROTATIONS``.
        mean_size: (height, width) of the mean image that is subtracted; (1, 1) is one mean color.
        image_size: (height, width) in pixels of the crop that the network sees.
        short_side: pixels that the shorter side of an image is resized to before the crop.
        metric: whether positions are in meters.

    Raises:
        ConfigError: a size out of range, or an unknown choice.
    """

    stem: tuple[int, int, int] = (64, 64, 192)
    inceptions: tuple[Widths, Widths, Widths, Widths, Widths, Widths, Widths, Widths, Widths] = (
        (64, 96, 128, 16, 32, 32),
        (128, 128, 192, 32, 96, 64),
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
        (256, 160, 320, 32, 128, 128),
        (384, 192, 384, 48, 128, 128),
    )
    projection: int = 128
    auxiliary_hidden: int = 1024
    hidden: int = 2048
    auxiliary: bool = True
    pool: str = "ceil"
    channels: str = "bgr"
    unit_quaternion: bool = False
    rotation: str = "world_from_camera"
    mean_size: tuple[int, int] = (256, 455)
    image_size: tuple[int, int] = (224, 224)
    short_side: int = 256
    metric: bool = True

    def __post_init__(self) -> None:
        counts = (self.projection, self.auxiliary_hidden, self.hidden, *self.stem, *sum(self.inceptions, ()))
        numbers = {"channels": counts, "mean_size": self.mean_size, "short_side": (self.short_side,)}
        for name, values in numbers.items():
            wrong = [value for value in values if not isinstance(value, int) or not 1 <= value <= MOST_CHANNELS]
            if wrong or any(isinstance(value, bool) for value in values):
                raise ConfigError(f"{name} of PoseNet", got=values, expected=f"integers 1 .. {MOST_CHANNELS}")
        for name, value, choices in (
            ("pool", self.pool, POOLS),
            ("channels", self.channels, CHANNELS),
            ("rotation", self.rotation, ROTATIONS),
        ):
            if value not in choices:
                raise ConfigError(f"{name} of PoseNet", got=repr(value), expected=" | ".join(choices))
        if self.image_size != (224, 224):
            raise ConfigError("image size of PoseNet", got=self.image_size, expected="(224, 224), which its heads need")
        if self.short_side < min(self.image_size):
            raise ConfigError("short_side of PoseNet", got=self.short_side, expected=f">= {min(self.image_size)}")

    @property
    def patch_size(self) -> int:
        """Stride of the last feature map: 32 pixels."""
        return 32

    def outputs(self, module: int) -> int:
        """Channels that come out of an inception module, by its number."""
        one, _, three, _, five, pooled = self.inceptions[module]
        return one + three + five + pooled


def scaled(divisor: float, **fields: object) -> PosenetArchitecture:
    """The published network with all channels but inputs and outputs divided, at least two of each."""
    full = PosenetArchitecture()
    narrow: Callable[[int], int] = lambda count: max(2, round(count / divisor))  # noqa: E731
    sizes = {
        "stem": tuple(map(narrow, full.stem)),
        "inceptions": tuple(tuple(map(narrow, widths)) for widths in full.inceptions),
        "projection": narrow(full.projection),
        "auxiliary_hidden": narrow(full.auxiliary_hidden),
        "hidden": narrow(full.hidden),
    }
    return PosenetArchitecture(**{**sizes, **fields})  # type: ignore[arg-type]


TINY = scaled(16, mean_size=(1, 1))
"""For tests to which the sizes do not matter: random weights, made in milliseconds."""
