from __future__ import annotations

import numpy as np

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Frame
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.ros.priors import WithPriors
from spann3r_ros.sim3 import Sim3


class Wheels:
    """Transforms of a robot."""

    subscriptions_to_tf = 0

    def __init__(self) -> None:
        self.known: dict[int, Sim3] = {}
        self.asked: list[tuple[str, str]] = []

    def lookup(self, target: str, source: str, stamp: int) -> Sim3:
        self.asked.append((target, source))
        if stamp not in self.known:
            raise GeometryError("not known yet")
        return self.known[stamp]

    def parent(self, _frame: str) -> str | None:
        return None

    def clear(self) -> None: ...

    def close(self) -> None: ...


class Recorder:
    """A reconstruction that keeps its frames."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.resets = 0

    def process(self, frame: Frame) -> list[WorldPrediction]:
        self.frames.append(frame)
        return []

    def reset(self) -> None:
        self.resets += 1


def frame(stamp: int, prior: Sim3 | None = None) -> Frame:
    return Frame(0, stamp, "camera", np.zeros((2, 2, 3), np.uint8), prior=prior)


def test_a_frame_gets_the_odometry_that_is_known_by_now_and_keeps_what_it_has() -> None:
    wheels, recorder = Wheels(), Recorder()
    driven = WithPriors(recorder, wheels, "odom")
    assert driven.prior("camera", 1) is None
    early, pose = Sim3(translation=np.ones(3)), Sim3(translation=np.array([1.0, 2.0, 3.0]))
    wheels.known[1] = pose  # it came after the image
    driven.process(frame(1))
    driven.process(frame(2))
    driven.process(frame(1, early))
    assert [taken.prior for taken in recorder.frames] == [pose, None, early]
    assert set(wheels.asked) == {("odom", "camera")}
    driven.reset()
    assert recorder.resets == 1


def test_without_odometry_nobody_is_asked() -> None:
    wheels, recorder = Wheels(), Recorder()
    driven = WithPriors(recorder, wheels, "")
    assert driven.prior("camera", 1) is None
    driven.process(frame(1))
    assert recorder.frames[0].prior is None and wheels.asked == []
