"""PoseNet's network: GoogLeNet (Szegedy et al., CVPR 2015, table 1) and three regressors of the pose.

Names of tensors are those of torchvision's GoogLeNet without its level ``conv``: there is no batch normalization here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from spann3r_ros.errors import FrameError
from spann3r_ros.models.posenet.architecture import MODULES, PosenetArchitecture, Widths

AUXILIARY = {1: "4a", 2: "4d"}
"""Which module's output each auxiliary regressor reads."""

DROPOUT = {1: 0.7, 2: 0.7, 3: 0.5}
"""Of the regressors' hidden layers, in training only."""

POOLED = {"3b": "pool3", "4e": "pool4"}
"""Modules whose output is pooled before the next one."""


@dataclass(frozen=True, eq=False)
class PoseAnswer:
    """What one regressor says.

    Attributes:
        position: (B, 3) float32, camera centers in the scene, in the unit of the labels.
        quaternion: (B, 4) float32 (w, x, y, z) in the labels' convention; of any length unless the architecture's
            ``unit_quaternion`` says otherwise.
    """

    position: Tensor
    quaternion: Tensor


class InceptionModule(nn.Module):
    """1x1, 3x3 and 5x5 convolutions and a pool side by side; channels (in) to the sum of the four."""

    def __init__(self, channels: int, widths: Widths) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = widths
        self.branch1 = nn.Conv2d(channels, one, 1)
        self.branch2 = nn.ModuleList([nn.Conv2d(channels, reduce3, 1), nn.Conv2d(reduce3, three, 3, padding=1)])
        self.branch3 = nn.ModuleList([nn.Conv2d(channels, reduce5, 1), nn.Conv2d(reduce5, five, 5, padding=2)])
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), nn.Conv2d(channels, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) to (B, out, h, w)."""
        three = functional.relu(self.branch2[1](functional.relu(self.branch2[0](x))))
        five = functional.relu(self.branch3[1](functional.relu(self.branch3[0](x))))
        return torch.cat([functional.relu(self.branch1(x)), three, five, functional.relu(self.branch4(x))], dim=1)


class PoseRegressor(nn.Module):
    """Features to a pose: an average, for the auxiliary ones a projection, a hidden layer, two linear outputs."""

    def __init__(self, channels: int, hidden: int, dropout: float, projection: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, projection, 1) if projection else None
        self.fc = nn.Linear(projection * 16 if projection else channels, hidden)
        self.dropout = nn.Dropout(dropout)
        self.fc_xyz, self.fc_wpqr = nn.Linear(hidden, 3), nn.Linear(hidden, 4)

    def forward(self, features: Tensor) -> PoseAnswer:
        """Features (B, C, 14, 14) of an auxiliary regressor, (B, C, 7, 7) of the last one; float32."""
        if self.conv is not None:
            features = functional.relu(self.conv(functional.avg_pool2d(features, 5, 3)))
        else:
            features = functional.avg_pool2d(features, 7)
        hidden = self.dropout(functional.relu(self.fc(features.flatten(1))))
        return PoseAnswer(self.fc_xyz(hidden), self.fc_wpqr(hidden))


class PosenetNetwork(nn.Module):
    """An image crop to the pose of its camera in the scene that the weights know.

    Attributes:
        mean_image: (3, h, w) float32 RGB, what the mean image of the training set has at each pixel, 0..255.
    """

    mean_image: Tensor

    def __init__(self, architecture: PosenetArchitecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.register_buffer("mean_image", torch.zeros(3, *a.mean_size))
        first, second, third = a.stem
        self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3)
        self.conv2 = nn.Conv2d(first, second, 1)
        self.conv3 = nn.Conv2d(second, third, 3, padding=1)
        channels = third
        for number, name in enumerate(MODULES):
            setattr(self, f"inception{name}", InceptionModule(channels, a.inceptions[number]))
            channels = a.outputs(number)
        if a.auxiliary:
            for number, name in AUXILIARY.items():
                regressor = PoseRegressor(
                    a.outputs(MODULES.index(name)), a.auxiliary_hidden, DROPOUT[number], a.projection
                )
                setattr(self, f"pose{number}", regressor)
        self.pose3 = PoseRegressor(channels, a.hidden, DROPOUT[3])

    def set_precision(self, dtype: torch.dtype) -> None:
        """Arithmetic of the trunk; the regressors are fp32 in every precision."""
        for name, module in self.named_children():
            module.to(torch.float32 if name.startswith("pose") else dtype)

    def network_input(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, 224, 224) float RGB with the mean subtracted, in the order of the first layer's weights."""
        return pixels.flip(1) if self.architecture.channels == "bgr" else pixels

    def stages(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pixels (as ``network_input`` takes them) to what every stage of the trunk gives, by GoogLeNet's names.

        Raises:
            FrameError: pixels of another size.
        """
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, *self.architecture.image_size):
            raise FrameError("shape of PoseNet's input", got=tuple(pixels.shape), expected="(B, 3, 224, 224)")
        found: dict[str, Tensor] = {}
        x = found["conv1"] = functional.relu(self.conv1(self.network_input(pixels).to(self.conv1.weight.dtype)))
        x = found["pool1"] = self._pooled(x)
        x = found["norm1"] = _normalized(x)
        x = found["conv2"] = functional.relu(self.conv2(x))
        x = found["conv3"] = functional.relu(self.conv3(x))
        x = found["norm2"] = _normalized(x)
        x = found["pool2"] = self._pooled(x)
        for name in MODULES:
            x = found[name] = self.get_submodule(f"inception{name}")(x)
            if name in POOLED:
                x = found[POOLED[name]] = self._pooled(x)
        return found

    def forward(self, pixels: Tensor) -> PoseAnswer:
        """The pose by the last regressor, the one that is used: pixels as ``stages`` takes them."""
        return self._answer(3, self.stages(pixels))

    def answers(self, pixels: Tensor) -> list[PoseAnswer]:
        """What all regressors say, the last one last: for training."""
        stages = self.stages(pixels)
        return [
            self._answer(number, stages) for number in (*AUXILIARY, 3) if self.architecture.auxiliary or number == 3
        ]

    def _answer(self, number: int, stages: dict[str, Tensor]) -> PoseAnswer:
        features = stages[AUXILIARY.get(number, MODULES[-1])]
        with torch.autocast(features.device.type, enabled=False):
            found: PoseAnswer = self.get_submodule(f"pose{number}")(features.float())
            if not self.architecture.unit_quaternion:
                return found
            return PoseAnswer(found.position, functional.normalize(found.quaternion))

    def _pooled(self, x: Tensor) -> Tensor:
        """Half the size."""
        if self.architecture.pool == "ceil":
            return functional.max_pool2d(x, 3, 2, ceil_mode=True)
        return functional.max_pool2d(x, 3, 2, padding=1)


def _normalized(x: Tensor) -> Tensor:
    """Local response normalization across five channels, in float32: squares leave the range of fp16."""
    return functional.local_response_norm(x.float(), 5, alpha=1e-4, beta=0.75, k=1.0).to(x.dtype)
