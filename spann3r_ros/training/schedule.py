"""What training does at which step: the curriculum. A pure function of the step, so a resumed run continues exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spann3r_ros.errors import ConfigError

Ramp = tuple[float, float]
"""Values at the first and at the last step of a stage; linear between."""


@dataclass(frozen=True)
class Stage:
    """A part of the curriculum.

    Attributes:
        name: for the log.
        steps: optimizer steps.
        batch: sequences per step, of each process where there are several.
        frames: frames of a clip, or of the window of a walk that one step sees; neighbors overlap by one frame.
            1: single images, on which only the encoder is trained, to tell where in the fixed scene they look.
        gap: largest distance between consecutive frames of a clip, in frames of the trajectory.
        truth: share of the sequences whose true pointmap is written to memory instead of the predicted one.
        blend: 0 is plain regression, 1 the paper's confidence loss (``losses.pointmap_loss``).
        walks: groups of walks that take turns; 0: every step sees fresh clips.
        walk_frames: length of a walk. Its memory is carried from window to window; gradients stay in the window.
        walk_every: of so many steps one continues a walk, the others see clips.
        rate: factor of the learning rates.
        singles: further single images per step (of each process likewise), for the place task only: neighbors in a clip
            show the same place.
        apart: the encoder learns from the single images alone, the rest of the network takes its features as they are.
        drift: meters by which true pointmaps are displaced (standard deviation, from the 40th frame of a walk on)
            before they are written to memory, so that a memory that has drifted is corrected and not followed.
    """

    name: str
    steps: int
    batch: int
    frames: int
    gap: Ramp = (1.0, 8.0)
    truth: Ramp = (1.0, 1.0)
    blend: Ramp = (0.0, 0.0)
    walks: int = 0
    walk_frames: int = 0
    walk_every: int = 2
    rate: float = 1.0
    singles: int = 0
    apart: bool = False
    drift: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.frames < 1 or self.gap[0] < 1 or self.walk_every < 1:
            raise ConfigError(
                f"stage '{self.name}' (steps, batch, frames, gap, walk_every)",
                got=(self.steps, self.batch, self.frames, self.gap, self.walk_every),
                expected="all >= 1",
            )
        if self.walks and (self.frames < 2 or (self.walk_frames - 1) % (self.frames - 1)):
            raise ConfigError(
                f"stage '{self.name}': walk_frames",
                got=self.walk_frames,
                expected=f"windows of at least 2 frames that overlap by one: 1 + a multiple of {self.frames - 1}",
            )

    @property
    def windows(self) -> int:
        """Steps of one walk."""
        return (self.walk_frames - 1) // (self.frames - 1)


@dataclass(frozen=True)
class Window:
    """Which part of which walk a step sees.

    Attributes:
        group: walks of one group share a batch and a memory.
        walk: number of the walk within its group; with the group it names the trajectory.
        first: index of the first frame of the window in the walk.
        origin: index of the frame that the memory began with.
        last: whether the walk ends with this window.
    """

    group: int
    walk: int
    first: int
    origin: int
    last: bool


@dataclass(frozen=True)
class Plan:
    """What one step does.

    Attributes:
        step: of the whole training.
        stage: that the step belongs to.
        stage_index: its number.
        gap, truth, blend: the stage's ramps at this step.
        window: None when the step sees fresh clips.
    """

    step: int
    stage: Stage
    stage_index: int
    gap: float
    truth: float
    blend: float
    window: Window | None


@dataclass(frozen=True)
class Curriculum:
    """Stages one after the other, and the learning rate over all of them.

    Attributes:
        stages: in order.
        warmup: steps over which the learning rate rises linearly.
        decay: last steps, over which it falls linearly to zero; constant between.
    """

    stages: tuple[Stage, ...]
    warmup: int = 100
    decay: int = 1000

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def learning_rate(self, step: int) -> float:
        """Factor of the learning rates."""
        ramp = min(1.0, (step + 1) / max(1, self.warmup), (self.steps - step) / max(1, self.decay))
        return ramp * self.plan(step).stage.rate

    def plan(self, step: int) -> Plan:
        """What step 0..steps-1 does; raises ConfigError for another one."""
        if not 0 <= step < self.steps:
            raise ConfigError("training step", got=step, expected=f"0..{self.steps - 1}")
        local = step
        index = 0
        while local >= self.stages[index].steps:
            local -= self.stages[index].steps
            index += 1
        stage = self.stages[index]
        progress = local / max(1, stage.steps - 1)

        def at(ramp: Ramp) -> float:
            return ramp[0] + (ramp[1] - ramp[0]) * progress

        return Plan(step, stage, index, at(stage.gap), at(stage.truth), at(stage.blend), _window(stage, local))


def _window(stage: Stage, local: int) -> Window | None:
    """The walk step at ``local`` of its stage, or None for clips."""
    if not stage.walks or local % stage.walk_every:
        return None
    turn = local // stage.walk_every
    group, round_ = turn % stage.walks, turn // stage.walks
    # Groups begin at different windows, so that a memory of every age is seen at any time.
    shift = group * stage.windows // stage.walks
    walk, index = divmod(round_ + shift, stage.windows)
    stride = stage.frames - 1
    origin = shift * stride if walk == 0 else 0
    left = math.ceil((stage.steps - local) / stage.walk_every / stage.walks) - 1
    return Window(group, walk, index * stride, origin, index == stage.windows - 1 or left == 0)
